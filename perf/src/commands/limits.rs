//! `limits`: what the disk and the loopback do without us.

use std::path::Path;

use tokio::task::spawn_blocking;

use super::{Verdict, scratch};
use crate::error::PerfError;
use crate::fio::{Fio, FioLine, Job};
use crate::limits::arguments::LimitsArguments;
use crate::limits::echo::{Echo, EchoLine};
use crate::proc::cpu::Stretch;

/// What is asked of the disk: a flush as small as they come, one of a full batch, all it takes, and random reads.
const JOBS: [Job; 5] = [
    Job::Append { block_bytes: 4_096 },
    Job::Append { block_bytes: 65_536 },
    Job::Write {
        block_bytes: 131_072,
        depth: 8,
    },
    Job::RandomRead {
        block_bytes: 4_096,
        depth: 1,
    },
    Job::RandomRead {
        block_bytes: 4_096,
        depth: 64,
    },
];
/// Messages of the echo under way.
const IN_FLIGHT: [usize; 4] = [1, 64, 256, 768];

/// Measures each in turn and prints a line for each.
///
/// # Errors
/// fio is not installed or fails, or there is no port.
pub(crate) async fn run(arguments: &LimitsArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &LimitsArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let output = arguments.printed.output();
    let stretch = Stretch::start(&[]);
    let fio = Fio::new(folder, u64::from(arguments.file_mib) << 20);
    for job in JOBS {
        let reading = fio.run(job, arguments.secs).await?;
        output.emit(&FioLine::new(job, reading))?;
    }
    for in_flight in IN_FLIGHT {
        let echo = Echo {
            message_bytes: arguments.message_bytes as usize,
            in_flight,
        };
        let window = arguments.secs;
        let ended = spawn_blocking(move || echo.run(window)).await;
        let reading = ended.map_err(std::io::Error::other).flatten().map_err(PerfError::Echo)?;
        output.emit(&EchoLine::new(echo, reading))?;
    }
    eprintln!("  steal {:.1} %", 100.0 * stretch.steal());
    Ok(Verdict::Good)
}
