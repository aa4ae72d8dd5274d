//! A panic of ours as an error, with its message and its place.
//!
//! **Invariant.** A panic inside of [`caught`] is not printed: who calls it reports the message. All other
//! panics are printed as before.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// How many calls of [`caught`] this thread is inside of.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
    /// The last panic inside of one.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Does something that may panic.
///
/// # Errors
/// The message and the place of the panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if INSIDE.get() == 0 {
                return usual(panic);
            }
            let message = panic.payload_as_str().unwrap_or("no message");
            let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
            LAST.set(Some(format!("{message}{place}")));
        }));
    });
    INSIDE.set(INSIDE.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(INSIDE.get() - 1);
    done.map_err(|_| LAST.take().unwrap_or_else(|| "no message".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message_and_place() {
        assert_eq!(caught(|| 7), Ok(7));
        let said = caught(|| caught(|| panic!("number {}", 3)).unwrap_err()).unwrap();
        assert!(said.starts_with("number 3 at "), "{said}");
        assert!(said.contains("caught.rs"), "{said}");
    }
}
