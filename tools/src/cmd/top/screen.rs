//! The live view: a terminal in raw mode, until q, Escape, ctrl-c or a signal. However it ends, the terminal is as it was before.
//!
//! A thread looks, this one draws and listens, so that keys work while a core lets itself be waited for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use margate_client::{Client, ClientConfig};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::between::Between;
use super::look;
use super::view::{Colours, draw};
use crate::args::{Global, LogFormat, LogLevel, TopArgs};
use crate::cmd::{client_config, runtime};
use crate::error::Failure;
use crate::exit::Exit;
use crate::log;

/// Time between looks for a signal or news, when no key comes.
const GLANCE: Duration = Duration::from_millis(100);

/// What keys and signals ask for.
enum Asked {
    End(Exit),
    Redraw,
    Nothing,
}

pub(super) fn run(global: &Global, args: &TopArgs) -> Result<Exit, Failure> {
    // What is logged would stand in the picture.
    log::install(
        global.log_level.unwrap_or(LogLevel::Error),
        global.log_format.unwrap_or(LogFormat::Text),
        None,
    );
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let caught = signal_hook::flag::register(signal, Arc::clone(&signalled));
        caught.map_err(|source| system("catch signals", source))?;
    }
    let looks = start_looking(client_config(&global.endpoints, global.timeout)?, args.interval)?;
    let mut terminal = ratatui::try_init().map_err(|source| system("take the terminal", source))?;
    let ended = stay(&mut terminal, &looks, &signalled);
    ratatui::try_restore().map_err(|source| system("give the terminal back", source))?;
    ended
}

/// Draws what comes and listens until it is told to end.
fn stay(terminal: &mut DefaultTerminal, looks: &Receiver<Result<Between, Failure>>, signalled: &AtomicBool) -> Result<Exit, Failure> {
    let colours = match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => Colours::None,
        Some(_) | None => Colours::Some,
    };
    let (mut shown, mut fresh) = (None, true);
    loop {
        match looks.try_recv() {
            Ok(between) => (shown, fresh) = (Some(between?), true),
            Err(TryRecvError::Empty) => {}
            // The thread that looks has said why it ended.
            Err(TryRecvError::Disconnected) => return Ok(Exit::Failure),
        }
        if std::mem::take(&mut fresh) {
            let drawn = terminal.draw(|frame| draw(frame, shown.as_ref(), colours));
            drawn.map_err(|source| system("draw", source))?;
        }
        if signalled.load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        match listen().map_err(|source| system("read keys", source))? {
            Asked::End(exit) => return Ok(exit),
            Asked::Redraw => fresh = true,
            Asked::Nothing => {}
        }
    }
}

fn listen() -> io::Result<Asked> {
    if !event::poll(GLANCE)? {
        return Ok(Asked::Nothing);
    }
    Ok(match event::read()? {
        Event::Key(key) => asked(key),
        Event::Resize(..) => Asked::Redraw,
        Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => Asked::Nothing,
    })
}

fn asked(key: KeyEvent) -> Asked {
    match (key.code, key.kind) {
        (_, KeyEventKind::Release) => Asked::Nothing,
        (KeyCode::Char('q') | KeyCode::Esc, _) => Asked::End(Exit::Success),
        // No signal comes of it while the terminal is raw.
        (KeyCode::Char('c'), _) if key.modifiers.contains(KeyModifiers::CONTROL) => Asked::End(Exit::Interrupted),
        (_, KeyEventKind::Press | KeyEventKind::Repeat) => Asked::Nothing,
    }
}

/// Looks again and again on a thread of its own; it ends with the process, or when nobody listens.
fn start_looking(config: ClientConfig, interval: Duration) -> Result<Receiver<Result<Between, Failure>>, Failure> {
    let runtime = runtime()?;
    let (sender, looks) = sync_channel(1);
    let looking = move || {
        runtime.block_on(async {
            let client = match Client::connect(config).await {
                Ok(client) => client,
                Err(error) => return drop(sender.send(Err(error.into()))),
            };
            let mut before = look(&client).await;
            loop {
                tokio::time::sleep(interval).await;
                let now = look(&client).await;
                if sender.send(Ok(Between::new(&before, &now))).is_err() {
                    return;
                }
                before = now;
            }
        });
    };
    let started = thread::Builder::new().name("looking".to_owned()).spawn(looking);
    started.map_err(|source| system("start a thread", source))?;
    Ok(looks)
}

fn system(action: &'static str, source: io::Error) -> Failure {
    Failure::System { action, source }
}
