//! Hello and welcome, for those who talk to a core without the public client.

use std::io;

use bytes::BytesMut;
use margate_net::codec::FrameWriter;
use margate_net::frame::{Frame, FrameKind, Stage, take_frame};
use margate_net::handshake::{Hello, Role};
use margate_net::ids::ClusterId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A client of an unknown deployment, which every core welcomes.
pub(crate) fn client_hello() -> Hello {
    Hello::of_guest(Role::Client, ClusterId::UNKNOWN)
}

/// Says hello and waits for the welcome.
///
/// # Errors
/// The connection breaks or says what is no frame, or the core does not welcome whoever that is.
pub(crate) async fn welcome(stream: &mut TcpStream, hello: &Hello) -> io::Result<Frame> {
    let frame = greet(stream, hello).await?;
    frame
        .filter(|frame| frame.kind == FrameKind::Welcome)
        .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
}

/// The frame that answers a hello; `None` if the core hangs up.
async fn greet(stream: &mut TcpStream, hello: &Hello) -> io::Result<Option<Frame>> {
    let mut out = Vec::new();
    FrameWriter::new().hello(&mut out, hello);
    stream.write_all(&out).await?;
    let mut said = BytesMut::new();
    loop {
        let taken = take_frame(&mut said, Stage::Established).map_err(io::Error::other)?;
        if taken.is_some() || stream.read_buf(&mut said).await? == 0 {
            return Ok(taken);
        }
    }
}
