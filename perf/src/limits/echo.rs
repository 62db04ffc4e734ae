//! Messages over the loopback and back, by threads that do nothing else: no store can answer faster.
//!
//! One thread writes as many messages as are to be under way, the other reads them all and writes them back. Where more
//! than one is under way there are two such pairs, so that both sides of one overlap with the other's.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::meter::{Meter, Reading};
use crate::units::in_words;

/// Load before the time that counts.
const WARMUP: Duration = Duration::from_millis(200);
/// Pairs of threads where there is enough to do.
const PAIRS_MAX: usize = 2;

/// So many messages under way at any instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    /// Bytes of a message.
    pub(crate) message_bytes: usize,
    /// Messages under way.
    pub(crate) in_flight: usize,
}

impl Echo {
    /// Sends messages until the window has closed; on threads of its own, waited for on this one.
    ///
    /// # Errors
    /// There is no port, no thread, or a connection breaks.
    pub(crate) fn run(self, window: Duration) -> io::Result<Reading> {
        let pairs = PAIRS_MAX.min(self.in_flight).max(1);
        let meter = Meter::opening_in(WARMUP, window);
        let askers: Vec<_> = (0..pairs)
            .map(|pair| {
                let messages = (self.in_flight + pair) / pairs;
                let (asks, answers) = connected()?;
                let bytes = messages * self.message_bytes;
                thread::Builder::new()
                    .name("echo-answers".to_owned())
                    .spawn(move || answer(answers, bytes))?;
                let meter = meter.clone();
                thread::Builder::new()
                    .name("echo-asks".to_owned())
                    .spawn(move || ask(asks, bytes, messages as u64, meter))
            })
            .collect();
        let mut sum = meter;
        for asker in askers {
            let seen = asker?.join().expect("an asker does not panic")?;
            sum.add(&seen);
        }
        Ok(sum.reading())
    }
}

/// Both ends of a connection over the loopback.
fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let asks = TcpStream::connect(listener.local_addr()?)?;
    let (answers, _) = listener.accept()?;
    asks.set_nodelay(true)?;
    answers.set_nodelay(true)?;
    Ok((asks, answers))
}

fn ask(mut stream: TcpStream, bytes: usize, messages: u64, mut meter: Meter) -> io::Result<Meter> {
    let mut buffer = vec![0; bytes];
    loop {
        let began = Instant::now();
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
        let ended = Instant::now();
        meter.record_all(began, ended, messages);
        if meter.is_over(ended) {
            return Ok(meter);
        }
    }
}

/// Until the other side has had enough, which ends the reading.
fn answer(mut stream: TcpStream, bytes: usize) {
    let mut buffer = vec![0; bytes];
    while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
}

/// What one measurement prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct EchoLine {
    system: &'static str,
    bench: &'static str,
    message_bytes: usize,
    in_flight: usize,
    #[serde(flatten)]
    reading: Reading,
}

impl EchoLine {
    /// The line of an echo.
    pub(crate) fn new(echo: Echo, reading: Reading) -> Self {
        Self {
            system: "loopback",
            bench: "echo",
            message_bytes: echo.message_bytes,
            in_flight: echo.in_flight,
            reading,
        }
    }
}

impl fmt::Display for EchoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reading = &self.reading;
        write!(
            f,
            "loopback echo of {}, {} in flight  {:>8.0}/s  p50 {:>6.0}  p99 {:>6.0} us",
            in_words(self.message_bytes as u64),
            self.in_flight,
            reading.ops_per_s,
            reading.p50_us,
            reading.p99_us
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_one_by_one_and_many_together() {
        for in_flight in [1, 2, 7] {
            let echo = Echo {
                message_bytes: 64,
                in_flight,
            };
            let reading = echo.run(Duration::from_millis(50)).expect("the loopback is there");
            assert!(reading.ops > 0 && reading.p50_us > 0.0, "{in_flight}: {reading:?}");
            let line = EchoLine::new(echo, reading).to_string();
            assert!(line.starts_with(&format!("loopback echo of 64 B, {in_flight} in flight")), "{line}");
        }
    }
}
