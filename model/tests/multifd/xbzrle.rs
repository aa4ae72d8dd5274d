//! Pages that are sent as differences.

use devmig_model::protocol::multifd::wire::{PageSize, XbzrleDecoder, XbzrleError};

/// The bit of a length whose second byte follows.
const MORE: u8 = 0x80;
const PAGE: usize = 4096;

fn put(count: usize, out: &mut Vec<u8>) {
    match count {
        0..=0x7f => out.push(count as u8),
        _ => out.extend([count as u8 | MORE, (count >> 7) as u8]),
    }
}

/// The difference of two pages, as a source would send it.
fn difference(old: &[u8], new: &[u8]) -> Vec<u8> {
    let run = |from: usize, same: bool| {
        (from..PAGE).take_while(|at| (old[*at] == new[*at]) == same).count()
    };
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        let stay = run(at, true);
        let count = run(at + stay, false);
        if count == 0 {
            return out;
        }
        put(stay, &mut out);
        put(count, &mut out);
        out.extend_from_slice(&new[at + stay..at + stay + count]);
        at += stay + count;
    }
}

fn applied(old: &[u8], pieces: &[&[u8]]) -> Result<Vec<u8>, XbzrleError> {
    let mut page = old.to_vec();
    let mut decoder = XbzrleDecoder::new(PageSize::FOUR_KIB);
    for piece in pieces {
        decoder.push(piece, &mut |at, bytes| {
            page[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        })?;
    }
    decoder.finish()?;
    Ok(page)
}

#[test]
fn a_difference_gives_the_new_page_however_it_is_cut() {
    let old: Vec<u8> = (0..PAGE).map(|at| (at % 251) as u8).collect();
    // Which bytes are other ones.
    let changes: [fn(usize) -> bool; 5] = [
        |_| false,
        |at| at == 0,
        |at| at == 5 || (300..1300).contains(&at) || at == PAGE - 1,
        |_| true,
        |at| (127..129).contains(&at) || (256..4000).contains(&at),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut new = old.clone();
        (0..PAGE).filter(|at| change(*at)).for_each(|at| new[at] ^= 0x5a);
        let difference = difference(&old, &new);
        for cut in 0..=difference.len() {
            let (one, other) = difference.split_at(cut);
            assert_eq!(applied(&old, &[one, other]).as_ref(), Ok(&new), "{number} at {cut}");
            // Where a run ends, the difference may end too.
            let short = applied(&old, &[one]);
            assert!(short.is_ok() || short == Err(XbzrleError::Cut), "{short:?}");
        }
    }
}

#[test]
fn what_is_no_difference_is_refused() {
    let page = vec![0; PAGE];
    let cases: [(&[u8], XbzrleError); 9] = [
        (&[0x80, 0x80], XbzrleError::Length),
        (&[0, 0x80, 0x80], XbzrleError::Length),
        (&[0, 0], XbzrleError::Empty),
        (&[0, 1, 7, 0, 1, 7], XbzrleError::Empty),
        (&[0x81, 0x20], XbzrleError::Beyond),
        (&[0xff, 0x1f, 2], XbzrleError::Beyond),
        (&[3], XbzrleError::Cut),
        (&[3, 0x81], XbzrleError::Cut),
        (&[3, 2, 9], XbzrleError::Cut),
    ];
    for (bytes, error) in cases {
        assert_eq!(applied(&page, &[bytes]), Err(error), "{bytes:x?}");
    }
}
