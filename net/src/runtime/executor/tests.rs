//! An executor on the machine's own io_uring: tasks, timers, other threads, sockets, files.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future;

use super::aligned::ALIGNMENT;
use super::files::DirectFile;
use super::sockets::{Acceptor, Stream};
use super::*;

fn run<T>(future: impl Future<Output = T>) -> T {
    Executor::new().expect("this machine has io_uring").run(future)
}

/// A task that another thread wakes: where it leaves its waker, and how often it was polled.
#[derive(Default)]
struct Foreign {
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
}

impl Foreign {
    /// Ends when it was polled so often.
    async fn polled(&self, times: usize) {
        poll_fn(|cx| {
            *self.waker.lock().expect("nobody panicked") = Some(cx.waker().clone());
            if self.polls.fetch_add(1, Ordering::SeqCst) + 1 >= times {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Wakes it whenever it waits, until it has been polled so often.
    fn wake_until(&self, times: usize) {
        while self.polls.load(Ordering::SeqCst) < times {
            let waker = self.waker.lock().expect("nobody panicked").take();
            waker.map_or_else(thread::yield_now, Waker::wake);
        }
    }
}

#[test]
fn tasks_run_in_the_order_in_which_they_became_ready_and_once_a_round() {
    let said = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let say = |who: u32| {
            let said = Rc::clone(&said);
            spawn_local(async move {
                for round in 0..3 {
                    said.borrow_mut().push((round, who));
                    yield_now().await;
                }
            })
        };
        let tasks: Vec<_> = (0..3).map(say).collect();
        for task in tasks {
            task.await;
        }
    });
    let mut sorted = said.borrow().clone();
    sorted.sort_unstable();
    assert_eq!((said.borrow().len(), &*said.borrow()), (9, &sorted));
}

#[test]
fn timers_end_in_the_order_of_their_times_and_not_before() {
    let began = Instant::now();
    let order = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let tasks = [30u64, 10, 20, 0].map(|millis| {
            let order = Rc::clone(&order);
            spawn_local(async move {
                sleep(Duration::from_millis(millis)).await;
                assert!(began.elapsed() >= Duration::from_millis(millis));
                order.borrow_mut().push(millis);
            })
        });
        for task in tasks {
            task.await;
        }
        // One that is given up wakes nobody, and one that never comes ends nothing.
        assert!(
            future::or(
                async {
                    sleep(Duration::MAX).await;
                    false
                },
                async { true }
            )
            .await
        );
    });
    assert_eq!(*order.borrow(), [0, 10, 20, 30]);
}

/// Without its wake an executor would sleep for ever: each poll but the first needs one from the other thread.
#[test]
fn another_thread_wakes_a_task_and_the_first_future_however_often_they_sleep() {
    const TIMES: usize = 20_000;
    for in_task in [true, false] {
        let foreign = Arc::<Foreign>::default();
        let waking = {
            let foreign = Arc::clone(&foreign);
            thread::spawn(move || foreign.wake_until(TIMES))
        };
        let polled = Arc::clone(&foreign);
        run(async move {
            if in_task {
                spawn_local(async move { polled.polled(TIMES).await }).await;
            } else {
                polled.polled(TIMES).await;
            }
        });
        waking.join().expect("it ends");
        assert_eq!(foreign.polls.load(Ordering::SeqCst), TIMES);
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

#[test]
fn an_executor_that_waits_uses_no_cpu() {
    let used = run(async {
        let before = cpu();
        sleep(Duration::from_millis(300)).await;
        cpu() - before
    });
    assert!(used < Duration::from_millis(100), "{used:?}");
}

#[test]
fn tasks_under_way_are_dropped_with_their_executor_on_its_thread() {
    struct Told(Rc<Cell<u32>>, thread::ThreadId);
    impl Drop for Told {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1);
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::<Cell<u32>>::default();
    let told = || Told(Rc::clone(&dropped), thread::current().id());
    let kept = Arc::<Foreign>::default();
    let executor = Executor::new().expect("this machine has io_uring");
    executor.run(async {
        let (first, second, third, waits) = (told(), told(), told(), Arc::clone(&kept));
        spawn_local(async move {
            let _first = first;
            pending::<()>().await;
        })
        .detach();
        // A waker of it outlives the executor, in other hands.
        spawn_local(async move {
            let _second = second;
            waits.polled(usize::MAX).await;
        })
        .detach();
        yield_now().await;
        yield_now().await;
        // Not polled once.
        spawn_local(async move { drop(third) }).detach();
    });
    assert_eq!(dropped.get(), 0);
    drop(executor);
    assert_eq!(dropped.get(), 3);
    let waker = kept.waker.lock().expect("nobody panicked").take().expect("it was polled");
    thread::spawn(move || waker.wake())
        .join()
        .expect("nobody is woken, and that is all right");
}

#[test]
fn a_cancelled_task_is_dropped_and_what_it_waited_for_is_taken_back() {
    run(async {
        let listener = loopback();
        let address = listener.local_addr().expect("it listens");
        let acceptor = Rc::new(Acceptor::of(listener).expect("a socket"));
        let accepting = {
            let acceptor = Rc::clone(&acceptor);
            spawn_local(async move { acceptor.accept().await })
        };
        yield_now().await;
        assert!(accepting.cancel().await.is_none());
        assert_eq!(Rc::strong_count(&acceptor), 1);
        // The wait that was begun is not lost: the next one to accept takes it over.
        let (dialled, accepted) = future::zip(Stream::connect(address), acceptor.accept()).await;
        assert!(dialled.is_ok() && accepted.is_ok());
        let again = {
            let acceptor = Rc::clone(&acceptor);
            spawn_local(async move { acceptor.accept().await })
        };
        sleep(Duration::from_millis(5)).await;
        assert!(again.cancel().await.is_none());
        // The wait is still in the kernel, and keeps the socket until it is taken back, which the next sleep hands over.
        drop(acceptor);
        sleep(Duration::from_millis(20)).await;
        TcpListener::bind(address).expect("nothing keeps the listening socket");
    });
}

fn loopback() -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port")
}

async fn write_all(stream: &Stream, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, rest)).await?;
        rest = &rest[written..];
    }
    Ok(())
}

/// So many bytes, or those before the end.
async fn read(stream: &Stream, count: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut some) = (Vec::new(), vec![0; 10_000]);
    while all.len() < count {
        match poll_fn(|cx| stream.poll_read(cx, &mut some)).await? {
            0 => break,
            read => all.extend_from_slice(&some[..read]),
        }
    }
    Ok(all)
}

#[test]
fn bytes_go_both_ways_at_once_when_neither_side_has_room_for_all() {
    let bytes: Vec<u8> = (0..8 << 20).map(|at: u32| u8::try_from(at % 251).expect("small")).collect();
    run(async {
        let listener = loopback();
        let address = listener.local_addr().expect("it listens");
        let acceptor = Acceptor::of(listener).expect("a socket");
        let (dialled, accepted) = future::zip(Stream::connect(address), acceptor.accept()).await;
        let sides = [Rc::new(dialled.expect("it listens")), Rc::new(accepted.expect("somebody dials"))];
        let tasks = sides.map(|side| {
            let (bytes, reader) = (bytes.clone(), Rc::clone(&side));
            let writing = spawn_local(async move {
                write_all(&side, &bytes).await.expect("the other side reads");
                side.shutdown(Shutdown::Write).expect("it is open");
            });
            (writing, spawn_local(async move { read(&reader, usize::MAX).await }))
        });
        for (writing, reading) in tasks {
            writing.await;
            assert!(reading.await.expect("no reset") == bytes);
        }
    });
}

#[test]
fn nobody_listens_and_a_shut_socket_wakes_who_waits() {
    run(async {
        let listener = loopback();
        let address = listener.local_addr().expect("it listens");
        let acceptor = Acceptor::of(listener).expect("a socket");
        let (dialled, accepted) = future::zip(Stream::connect(address), acceptor.accept()).await;
        let (dialled, _accepted) = (Rc::new(dialled.expect("it listens")), accepted);
        let waiting = {
            let dialled = Rc::clone(&dialled);
            spawn_local(async move { read(&dialled, 1).await })
        };
        yield_now().await;
        dialled.shutdown(Shutdown::Both).expect("it is open");
        assert_eq!(waiting.await.expect("an end").len(), 0);
        drop(acceptor);
        yield_now().await;
        let refused = Stream::connect(address).await.map(drop);
        assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
    });
}

/// The kernel tells of the other side's end whatever it is asked for, so a writer that waits for room would spin.
#[test]
fn a_writer_whose_other_side_has_ended_and_reads_late_waits_without_cpu() {
    const LENGTH: usize = 64 << 20;
    run(async {
        let listener = loopback();
        let address = listener.local_addr().expect("it listens");
        let acceptor = Acceptor::of(listener).expect("a socket");
        let (dialled, accepted) = future::zip(Stream::connect(address), acceptor.accept()).await;
        let (ended, writer) = (dialled.expect("it listens"), accepted.expect("somebody dials"));
        let writing = spawn_local(async move { write_all(&writer, &vec![0; LENGTH]).await.is_ok() });
        // It has filled what there is room for.
        sleep(Duration::from_millis(20)).await;
        assert!(!writing.is_finished());
        ended.shutdown(Shutdown::Write).expect("it is open");
        let before = cpu();
        sleep(Duration::from_millis(300)).await;
        let used = cpu() - before;
        assert!(!writing.is_finished() && used < Duration::from_millis(100), "{used:?}");
        assert_eq!(read(&ended, LENGTH).await.expect("no reset").len(), LENGTH);
        assert!(writing.await);
    });
}

/// Another thread may be about to put a task into the queue when its executor ends.
#[test]
fn tasks_that_are_being_woken_elsewhere_are_dropped_with_their_executor() {
    for _ in 0..300 {
        let foreign = Arc::<Foreign>::default();
        let (stop, dropped) = (Arc::<AtomicBool>::default(), Rc::new(()));
        let waking = {
            let (foreign, stop) = (Arc::clone(&foreign), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let waker = foreign.waker.lock().expect("nobody panicked").clone();
                    waker.map_or_else(thread::yield_now, Waker::wake);
                }
            })
        };
        run(async {
            let (polled, kept) = (Arc::clone(&foreign), Rc::clone(&dropped));
            spawn_local(async move {
                let _kept = kept;
                polled.polled(usize::MAX).await;
            })
            .detach();
            while foreign.polls.load(Ordering::SeqCst) < 3 {
                yield_now().await;
            }
        });
        assert_eq!(Rc::strong_count(&dropped), 1);
        stop.store(true, Ordering::SeqCst);
        waking.join().expect("it ends");
    }
}

/// More waits than the ring has entries, all handed over in a round.
#[test]
fn more_operations_than_the_ring_holds_all_end() {
    const COUNT: usize = 3 * RING_ENTRIES as usize;
    run(async {
        let listener = loopback();
        let address = listener.local_addr().expect("it listens");
        let dialler = thread::spawn(move || {
            (0..COUNT)
                .map(|_| TcpStream::connect(address).expect("it listens"))
                .collect::<Vec<_>>()
        });
        let acceptor = Acceptor::of(listener).expect("a socket");
        let mut streams = Vec::new();
        for _ in 0..COUNT {
            streams.push(acceptor.accept().await.expect("they dial"));
        }
        let dialled = dialler.join().expect("all dialled");
        let read = |stream: Stream| spawn_local(async move { read(&stream, 1).await });
        let readers: Vec<_> = streams.into_iter().map(read).collect();
        yield_now().await;
        for mut stream in dialled {
            io::Write::write_all(&mut stream, &[7]).expect("it is open");
        }
        for reader in readers {
            assert_eq!(reader.await.expect("no reset"), [7]);
        }
    });
}

/// A file on the disk of the build: temporary folders may be in memory, which takes no direct writes.
fn on_disk(name: &str, bytes: &[u8]) -> (PathBuf, impl Drop + use<>) {
    struct Gone(PathBuf);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
    let program = std::env::current_exe().expect("a test is a program");
    let path = program.with_file_name(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("it takes a file");
    (path.clone(), Gone(path))
}

#[test]
fn a_file_gives_back_what_was_written_to_it_from_any_offset_up_to_its_end() {
    let (path, _gone) = on_disk("executor-file", &vec![1; 4 * ALIGNMENT]);
    run(async {
        let file = DirectFile::open(&path, libc::O_DSYNC).await.expect("it is there");
        let mut buffer = AlignedBuffer::zeroed(ALIGNMENT);
        buffer.fill(2);
        let (written, buffer) = file.write_at(buffer, ALIGNMENT as u64).await.expect("a disk");
        assert_eq!((written, buffer.len()), (ALIGNMENT, ALIGNMENT));
        let around = file.read_at(ALIGNMENT as u64 - 3, ALIGNMENT + 6).await.expect("a disk");
        let expected = [vec![1; 3], vec![2; ALIGNMENT], vec![1; 3]].concat();
        assert!(*around == *expected);
        let last = file.read_at(4 * ALIGNMENT as u64 - 5, 100).await.expect("a disk");
        assert_eq!(*last, [1; 5]);
        assert!(file.read_at(5 * ALIGNMENT as u64, 1).await.expect("a disk").is_empty());
    });
}

#[test]
fn what_the_system_refuses_is_said() {
    let (path, gone) = on_disk("executor-refused", &vec![1; ALIGNMENT]);
    run(async {
        let file = DirectFile::open(&path, 0).await.expect("it is there");
        let refused = file.write_at(AlignedBuffer::zeroed(ALIGNMENT), 1).await.map(|_| ());
        assert_eq!(refused.map_err(|error| error.raw_os_error()), Err(Some(libc::EINVAL)));
        drop(gone);
        let missing = DirectFile::open(&path, 0).await.map(drop);
        assert_eq!(missing.map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    });
}

/// Whoever waits for a write, an open or a read may be gone before the kernel has answered, and the executor, too.
#[test]
fn files_given_up_at_any_time_are_finished_by_the_executor() {
    let (path, _gone) = on_disk("executor-given-up", &vec![1; 64 * ALIGNMENT]);
    let open_before = open_files();
    for rounds in 0..6 {
        run(async {
            let file = Rc::new(DirectFile::open(&path, libc::O_DSYNC).await.expect("it is there"));
            for block in 0..8u64 {
                let (file, path) = (Rc::clone(&file), path.clone());
                spawn_local(async move {
                    let mut buffer = AlignedBuffer::zeroed(ALIGNMENT);
                    buffer.fill(9);
                    let written = file.write_at(buffer, block * ALIGNMENT as u64).await;
                    let read = file.read_at(block * ALIGNMENT as u64, ALIGNMENT).await;
                    drop((written, read, DirectFile::open(&path, 0).await));
                })
                .detach();
            }
            for _ in 0..rounds {
                yield_now().await;
            }
        });
    }
    let bytes = std::fs::read(&path).expect("it is there");
    let (written, rest) = bytes.split_at(8 * ALIGNMENT);
    assert!(written.iter().all(|byte| *byte == 9) && rest.iter().all(|byte| *byte == 1));
    assert_eq!(open_files(), open_before, "descriptors of {}", path.display());

    fn open_files() -> usize {
        let of_this_test = |entry: io::Result<std::fs::DirEntry>| {
            let target = entry.ok().and_then(|entry| std::fs::read_link(entry.path()).ok());
            target.is_some_and(|target| target.to_string_lossy().contains("executor-given-up"))
        };
        std::fs::read_dir("/proc/self/fd")
            .expect("Linux")
            .map(of_this_test)
            .filter(|ours| *ours)
            .count()
    }
}

#[test]
#[should_panic(expected = "an executor runs on this thread already")]
fn an_executor_inside_another_is_refused() {
    run(async { run(async {}) });
}
