//! A link's life before a server that says everything back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::condition::Condition;
use super::*;

/// Says back what it hears, on every connection.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

fn dial(proxies: &Proxies) -> TcpStream {
    let mut stream = TcpStream::connect(proxies.reached()[0]).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout can be set");
    // No hello, so whoever dials is a client; it must be long enough to be seen not to be one.
    assert_eq!(said_back(&mut stream, &[7; 64]).expect("the link is sound"), [7; 64]);
    stream
}

fn said_back(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes)?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back)?;
    Ok(back)
}

fn start() -> Proxies {
    Proxies::start(&[(1, echo())], 1).expect("a free port and a thread")
}

fn link(proxies: &Proxies) -> Arc<Link> {
    let name = LinkName {
        from: Dialler::Client,
        to: 1,
    };
    proxies.shared.links().get(&name).expect("somebody dialled").clone()
}

#[test]
fn a_sound_link_changes_nothing() {
    let proxies = start();
    let mut stream = dial(&proxies);
    let bytes: Vec<u8> = (0..200_000u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut writer = stream.try_clone().expect("a second handle");
    let sent = bytes.clone();
    let writing = thread::spawn(move || writer.write_all(&sent));
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("all of it comes back");
    writing.join().expect("no panic").expect("all of it is taken");
    assert!(back == bytes);
    let counts = proxies.counts();
    assert_eq!((counts.links, counts.connections, counts.flips, counts.closed), (1, 1, 0, 0));
}

#[test]
fn what_is_held_comes_when_the_link_heals() {
    let proxies = start();
    let mut stream = dial(&proxies);
    for cut in [
        Condition {
            forth_held: true,
            ..Condition::default()
        },
        Condition {
            back_held: true,
            ..Condition::default()
        },
    ] {
        link(&proxies).condition.send_replace(cut);
        let error = said_back(&mut stream, b"hello").expect_err("the link is cut");
        assert!(
            matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            "{error}"
        );
        link(&proxies).condition.send_replace(cut.healed());
        let mut back = [0; 5];
        stream.read_exact(&mut back).expect("the link is sound again");
        assert_eq!(&back, b"hello");
    }
}

#[test]
fn a_slow_link_takes_its_time_and_a_dropped_one_is_closed() {
    let proxies = start();
    let mut stream = dial(&proxies);
    let delay = Duration::from_millis(50);
    link(&proxies).condition.send_modify(|condition| condition.delay = delay);
    let began = Instant::now();
    said_back(&mut stream, b"hello").expect("it is only slow");
    assert!(began.elapsed() >= 2 * delay, "{:?}", began.elapsed());
    link(&proxies).condition.send_modify(|condition| condition.closed += 1);
    assert!(
        stream
            .read_exact(&mut [0])
            .is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    );
    assert_eq!(proxies.counts().closed, 1);
    link(&proxies).condition.send_modify(|condition| *condition = condition.healed());
    dial(&proxies);
}

#[test]
fn a_flip_changes_one_byte() {
    let proxies = start();
    let mut stream = dial(&proxies);
    link(&proxies).flip_next(condition::Direction::Back, 0x1f07);
    let back = said_back(&mut stream, &[9; 40]).expect("it is not cut");
    let mut expected = [9; 40];
    expected[0x1f] ^= 7;
    assert_eq!(back, expected);
    assert_eq!(said_back(&mut stream, &[9; 40]).expect("it is not cut"), [9; 40]);
    assert_eq!(proxies.counts().flips, 1);
}

#[test]
fn faults_begin_and_end_when_they_are_told_to() {
    let proxies = start();
    let _stream = dial(&proxies);
    assert_eq!(*link(&proxies).condition.borrow(), Condition::default());
    proxies.begin_faults();
    let began = Instant::now();
    let done = |counts: FaultCounts| counts.drops + counts.delays + counts.one_way + counts.half_open + counts.flips;
    while done(proxies.counts()) == 0 {
        // Bytes must flow for a flip to be seen, and a dropped link is dialled again.
        if let Ok(mut stream) = TcpStream::connect(proxies.reached()[0]) {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            let _ = said_back(&mut stream, &[7; 64]);
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no fault within a minute");
    }
    proxies.end_faults();
    let healed = |condition: &Condition| *condition == condition.healed();
    while !healed(&link(&proxies).condition.borrow()) {
        assert!(began.elapsed() < Duration::from_secs(60), "the link does not heal");
        thread::sleep(Duration::from_millis(10));
    }
    dial(&proxies);
}

#[test]
fn a_node_that_is_not_there_closes_the_connection() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let proxies = Proxies::start(&[(1, gone)], 1).expect("a free port and a thread");
    let mut stream = TcpStream::connect(proxies.reached()[0]).expect("the proxy listens");
    stream.write_all(&[7; 64]).expect("the proxy takes it");
    let mut back = [0];
    assert!(matches!(stream.read(&mut back), Ok(0) | Err(_)));
}
