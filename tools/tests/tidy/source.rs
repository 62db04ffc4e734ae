//! Rust text taken apart by eye: comments and literals blanked out, functions and their lengths found.
//!
//! Not here, on purpose: a parser. Formatted code needs none for this.

/// The text with every byte of comments, strings and characters made a blank; lines and offsets stay.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let skip = comment(rest).or_else(|| literal(rest, at.checked_sub(1).map(|before| bytes[before])));
        let length = skip.unwrap_or(1);
        let kept = skip.is_none();
        code.extend(rest[..length].iter().map(|byte| if kept || *byte == b'\n' { *byte } else { b' ' }));
        at += length;
    }
    String::from_utf8(code).expect("whole comments and literals were blanked, byte by byte")
}

/// A function and how many lines it has, its signature included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Every function with a body; those inside others count by themselves and as part of the outer one.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let starts = code.match_indices("fn ").filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        before.is_none_or(|before| !is_word(before))
    });
    starts.filter_map(|(at, _)| function(code, at)).collect()
}

/// Whether a text holds a word, with nothing that could be part of it around. A word that ends like a crate's name
/// (`tokio::`) is not found where that names a module (`runtime::tokio::`).
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let inner = |side: Option<char>, edge: Option<char>| side.is_some_and(is_word) && edge.is_some_and(is_word);
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        let module = word.ends_with("::") && before == Some(':');
        !module && !inner(before, word.chars().next()) && !inner(after, word.chars().next_back())
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn function(code: &str, at: usize) -> Option<Function> {
    let name: String = code[at + 3..].chars().take_while(|character| is_word(*character)).collect();
    let body = at + body_start(&code[at..])?;
    let end = body + body_length(&code[body..])?;
    let newlines = |text: &str| text.matches('\n').count();
    (!name.is_empty()).then(|| Function {
        name,
        line: newlines(&code[..at]) + 1,
        lines: newlines(&code[at..end]) + 1,
    })
}

/// Where the body of what starts here opens; none if it has none.
fn body_start(code: &str) -> Option<usize> {
    let mut depth = 0i32;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn body_length(code: &str) -> Option<usize> {
    let mut depth = 0i32;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn comment(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            Some(_) | None => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// A string or character that starts here. `before` tells a prefix from the end of a name.
fn literal(rest: &[u8], before: Option<u8>) -> Option<usize> {
    match rest.first()? {
        b'"' => Some(quoted(rest, b'"')),
        b'\'' => character(rest),
        b'r' if !before.is_some_and(|before| before.is_ascii_alphanumeric() && before != b'b' || before == b'_') => raw_string(rest),
        _ => None,
    }
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A character, not a lifetime: what stands before the next quote is escaped or one character long.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, b'\''));
    }
    let window = &rest[1..rest.len().min(6)];
    let length = window.iter().position(|byte| *byte == b'\'')?;
    let one = str::from_utf8(&window[..length]).is_ok_and(|inside| inside.chars().count() == 1);
    one.then_some(length + 2)
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = 2 + hashes;
    let found = rest[body..].windows(end.len()).position(|window| window == end);
    Some(found.map_or(rest.len(), |at| body + at + end.len()))
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    let text = "a('x', '\\'', b\"y\\\"{\", r#\"{\"#); // }\nfn f<'a>(b: &'a str) /* { /* */ } */ {}\nlet bar = 'é';";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.matches('\n').count(), 2);
    for gone in ["x", "y", "\"", "/*", "//", "é"] {
        assert!(!code.contains(gone), "{gone} stands in {code}");
    }
    assert!(code.contains("fn f<'a>(b: &'a str)") && code.contains("let bar ="), "{code}");
    assert_eq!((code.matches('{').count(), code.matches('}').count()), (1, 1));
}

#[test]
fn functions_are_measured_from_signature_to_last_brace() {
    let code = "trait T {\n    fn none(&self, x: [u8; 4]);\n}\nfn one() {}\nfn outer(\n    f: fn(u8),\n) -> [u8; 2] {\n    fn inner() {\n    }\n}\n";
    let found: Vec<_> = functions(code).into_iter().map(|one| (one.name, one.line, one.lines)).collect();
    let expected = [("one", 4, 1), ("outer", 5, 6), ("inner", 8, 2)].map(|(name, line, lines)| (name.to_owned(), line, lines));
    assert_eq!(found, expected);
}

#[test]
fn words_are_whole() {
    assert!(has_word("x.await;", ".await") && !has_word("x.awaits()", ".await"));
    assert!(has_word("unsafe {", "unsafe") && !has_word("unsafe_op", "unsafe"));
    assert!(has_word("heed::Env", "heed::") && !has_word("my_heed::Env", "heed::"));
    assert!(has_word("std::time::Instant::now()", "Instant::now") && !has_word("runtime::tokio::Client", "tokio::"));
}
