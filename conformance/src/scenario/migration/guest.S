/*
 * A guest that does nothing but dirty pages that are known. QEMU boots it as a multiboot kernel.
 *
 * In round N = 1, 2, ... it writes N to the first and to the last word of each counted page, one page
 * after the other, and then N or, in every second round, 0 to the first word of each blinking page.
 * So whenever it is stopped, each counted page is equal to the next or one ahead of it.
 *
 * guest.rs assembles it, defines COUNTED, COUNTS, BLINKING, BLINKS and PAGE, and checks the pattern.
 */
        .code32
        .text
        .balign 4
        .long   0x1badb002, 0, -0x1badb002      /* multiboot: magic, flags, checksum */

        .globl  _start
_start:
        cli
        mov     $1, %ebx                        /* N */
round:
        mov     $COUNTED, %edi
        mov     $COUNTS, %ecx
count:
        mov     %ebx, (%edi)
        mov     %ebx, PAGE - 4(%edi)
        add     $PAGE, %edi
        loop    count

        mov     %ebx, %eax                      /* N if it is odd, else 0 */
        and     $1, %eax
        neg     %eax
        and     %ebx, %eax
        mov     $BLINKING, %edi
        mov     $BLINKS, %ecx
blink:
        mov     %eax, (%edi)
        add     $PAGE, %edi
        loop    blink

        mov     $20000, %ecx                    /* leaves the processor to others for a while */
rest:
        pause
        loop    rest
        inc     %ebx
        jmp     round

        .section .note.GNU-stack, "", @progbits
