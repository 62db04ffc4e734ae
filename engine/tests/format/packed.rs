//! A directory as text: its files are mostly runs of one byte, so every run is a line, and what lies between is hex.
//!
//! ```text
//!   length 32768
//!   at 0 4d677453…
//!   run 8300 2e 11900        from byte 8,300 on, 11,900 times 0x2e
//! ```
//! Bytes of which nothing is said are zero.
//!
//! Not here, on purpose: compression. A fixture should be readable, and readable for ever.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Equal bytes that are worth a line of their own.
const RUN_MIN: usize = 48;
/// Bytes in a line.
const LINE_MAX: usize = 64;

/// Every file below a folder, but locks, as a file of the same name in another, with `.txt` behind it.
pub(crate) fn pack(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_str().expect("our own names").to_owned();
        if path.is_dir() {
            pack(&path, &to.join(name));
        } else if !["LOCK", "lock.mdb"].contains(&name.as_str()) {
            let text = text_of(&fs::read(&path).expect("readable"));
            fs::write(to.join(format!("{name}.txt")), text).expect("writable");
        }
    }
}

/// The way back.
pub(crate) fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the fixture is there") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_str().expect("our own names");
        match name.strip_suffix(".txt") {
            Some(name) => fs::write(to.join(name), bytes_of(&fs::read_to_string(&path).expect("text"))).expect("writable"),
            None => unpack(&path, &to.join(name)),
        }
    }
}

pub(crate) fn text_of(bytes: &[u8]) -> String {
    let mut text = format!("length {}\n", bytes.len());
    let mut literal = 0;
    let mut at = 0;
    while at < bytes.len() {
        let same = bytes[at..].iter().take_while(|byte| **byte == bytes[at]).count();
        if same < RUN_MIN {
            at += same;
            continue;
        }
        literals(&mut text, literal, &bytes[literal..at]);
        if bytes[at] != 0 {
            let _ = writeln!(text, "run {at} {:02x} {same}", bytes[at]);
        }
        at += same;
        literal = at;
    }
    literals(&mut text, literal, &bytes[literal..]);
    text
}

fn literals(text: &mut String, from: usize, bytes: &[u8]) {
    for (line, at) in bytes.chunks(LINE_MAX).zip((from..).step_by(LINE_MAX)) {
        let _ = write!(text, "at {at} ");
        line.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
        text.push('\n');
    }
}

pub(crate) fn bytes_of(text: &str) -> Vec<u8> {
    let number = |word: &str| word.parse::<usize>().expect("a number");
    let byte = |word: &str| u8::from_str_radix(word, 16).expect("a byte");
    let mut bytes = Vec::new();
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["length", length] => bytes = vec![0; number(length)],
            ["at", at, hex] => {
                let literal = (0..hex.len()).step_by(2).map(|digit| byte(&hex[digit..digit + 2]));
                bytes.splice(number(at)..number(at) + hex.len() / 2, literal);
            }
            ["run", at, value, count] => bytes[number(at)..][..number(count)].fill(byte(value)),
            _ => panic!("no line of a packed file: {line}"),
        }
    }
    bytes
}
