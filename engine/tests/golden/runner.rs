//! Reads scripts, runs their commands on a machine, compares or rewrites the traces.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What stands between commands and trace.
const BORDER: &str = "---";
/// Equal lines shown around a difference.
const CONTEXT_LINES: usize = 3;

/// What a script talks to.
pub(crate) trait Machine {
    /// Carries out one command and notes what is visible of it.
    fn run(&mut self, command: &Command<'_>, trace: &mut Trace);
}

/// One line of a script.
pub(crate) struct Command<'a> {
    /// The line as it stands.
    pub(crate) line: &'a str,
}

/// What a machine shows, and what a script may ask about.
#[derive(Default)]
pub(crate) struct Trace {
    lines: Vec<String>,
    /// All that was said, shown or not, since the last `mark`.
    said: Vec<String>,
}

impl<'a> Command<'a> {
    /// Its words.
    pub(crate) fn words(&self) -> Vec<&'a str> {
        self.line.split_whitespace().collect()
    }

    /// A word that is a number.
    pub(crate) fn number(&self, at: usize) -> u64 {
        let word = self.words().get(at).copied().unwrap_or_default();
        word.parse()
            .unwrap_or_else(|_| panic!("`{}` needs a number as word {at}", self.line))
    }

    /// A word that is a number, or what it is when left out.
    pub(crate) fn number_or(&self, at: usize, otherwise: u64) -> u64 {
        if self.words().len() > at { self.number(at) } else { otherwise }
    }

    /// Nobody knows this command.
    pub(crate) fn unknown(&self) -> ! {
        panic!("unknown command `{}`", self.line)
    }
}

impl Trace {
    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl Into<String>) {
        let line = line.into();
        self.unseen(&line);
        self.lines.push(line);
    }

    /// A line that is not shown: only `expect` knows of it.
    pub(crate) fn unseen(&mut self, lines: &str) {
        self.said.extend(lines.lines().map(str::to_owned));
    }

    /// Carries out a command that any machine's script may give. Whether it was one. What it expects holds whatever the trace
    /// says, so `UPDATE=1` does not take a machine that does something else than its script is called.
    ///
    /// - `mark`: what was said before no longer counts
    /// - `expect TEXT | TEXT …`: lines with these texts, in this order
    /// - `expect-none TEXT`: no such line; `expect-count N TEXT`: so many
    fn expects(&mut self, command: &Command<'_>) -> bool {
        let (first, rest) = command.line.split_once(' ').unwrap_or((command.line, ""));
        match first {
            "mark" => self.said.clear(),
            "expect" => {
                let mut said = self.said.iter();
                for text in rest.split(" | ") {
                    self.must(said.any(|line| line.contains(text)), command, text);
                }
            }
            "expect-none" => self.must(!self.said.iter().any(|line| line.contains(rest)), command, rest),
            "expect-count" => {
                let (_, text) = rest.split_once(' ').unwrap_or_else(|| command.unknown());
                let count = self.said.iter().filter(|line| line.contains(text)).count();
                self.must(count as u64 == command.number(1), command, &format!("{count}"));
            }
            _ => return false,
        }
        true
    }

    fn must(&self, holds: bool, command: &Command<'_>, found: &str) {
        assert!(
            holds,
            "`{}` does not hold: `{found}`; said since the last mark:\n{}",
            command.line,
            self.said.join("\n")
        );
    }
}

/// Runs every script of a machine, each on a new one.
pub(crate) fn check(machine: &str, make: impl Fn() -> Box<dyn Machine>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scripts").join(machine);
    let mut failures = String::new();
    let scripts = scripts(&folder);
    assert!(!scripts.is_empty(), "{} holds no script", folder.display());
    for path in scripts {
        let text = fs::read_to_string(&path).expect("a script is readable text");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Shown only when a machine panics: whose script it was.
        println!("{machine}/{name}");
        let (commands, expected) = split(&text);
        let found = format!("{commands}{BORDER}\n{}", trace(commands, make().as_mut()));
        if std::env::var_os("UPDATE").is_some() {
            if found != text {
                fs::write(&path, found).expect("the script can be written");
            }
        } else if found != text {
            let _ = writeln!(
                failures,
                "{machine}/{name}:\n{}",
                difference(expected, &found[commands.len() + BORDER.len() + 1..])
            );
        }
    }
    assert!(
        failures.is_empty(),
        "traces differ (- script, + now); look at each, then UPDATE=1 takes them\n{failures}"
    );
}

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the folder of scripts exists")
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    paths.sort();
    paths
}

fn split(text: &str) -> (&str, &str) {
    let border = format!("\n{BORDER}\n");
    match text.find(&border) {
        Some(at) => (&text[..=at], &text[at + border.len()..]),
        None => (text, ""),
    }
}

fn trace(commands: &str, machine: &mut dyn Machine) -> String {
    assert!(commands.starts_with('#'), "a script begins with its intent");
    let mut trace = Trace::default();
    for line in commands.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let command = Command { line };
        trace.lines.push(format!("> {line}"));
        if !trace.expects(&command) {
            machine.run(&command, &mut trace);
        }
    }
    trace.lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The lines that differ, with some around them.
fn difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let common = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - common;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(old, new)| old == new)
        .count();
    let mut shown = String::new();
    let mut show = |mark: char, lines: &[&str]| lines.iter().for_each(|line| shown.push_str(&format!("{mark}{line}\n")));
    show(' ', &old[common.saturating_sub(CONTEXT_LINES)..common]);
    show('-', &old[common..old.len() - tail]);
    show('+', &new[common..new.len() - tail]);
    show(' ', &old[old.len() - tail..(old.len() - tail + CONTEXT_LINES).min(old.len())]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Machine for Echo {
        fn run(&mut self, command: &Command<'_>, trace: &mut Trace) {
            trace.line(command.words().join("-"));
        }
    }

    #[test]
    fn a_trace_shows_commands_and_what_they_did() {
        assert_eq!(trace("# why\n\nsay a b\n", &mut Echo), "> say a b\nsay-a-b\n");
        assert_eq!(split("# why\nsay a\n---\n> say a\n"), ("# why\nsay a\n", "> say a\n"));
        assert_eq!(split("# why\n"), ("# why\n", ""));
    }

    #[test]
    fn expectations_hold_whatever_the_trace_says() {
        let holds = |commands: &str| std::panic::catch_unwind(|| drop(trace(commands, &mut Echo))).is_ok();
        assert!(holds(
            "# why\nsay a\nsay b\nexpect say-a | say-b\nexpect-count 2 say\nmark\nexpect-none say\n"
        ));
        assert!(!holds("# why\nsay a\nsay b\nexpect say-b | say-a\n"));
        assert!(!holds("# why\nsay a\nexpect-none say\n"));
        assert!(!holds("# why\nsay a\nexpect-count 2 say\n"));
        assert!(!holds("# why\nexpect expect\n"), "a command is not something said");
    }

    #[test]
    fn a_difference_shows_only_what_differs() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\ny\nc\n"), " a\n-b\n+x\n+y\n c\n");
        assert_eq!(difference("", "a\n"), "+a\n");
    }
}
