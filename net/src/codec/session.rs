//! Hello, Welcome, Goodbye: how a connection starts and ends.

use super::{FrameWriter, id128, root, u128_of};
use crate::frame::{Frame, FrameError, FrameKind};
use crate::generated::margate::wire;
use crate::handshake::{Goodbye, Hello, Role, Welcome, WireGoodbye};
use crate::ids::{ClusterId, CoreId, DirectoryId, Incarnation, MapEpoch, NodeId};

impl FrameWriter {
    /// Appends a Hello frame.
    pub fn hello(&mut self, out: &mut Vec<u8>, hello: &Hello) {
        self.builder.reset();
        let (cluster, directory) = (id128(hello.cluster.0), id128(hello.directory.0));
        let args = wire::HelloArgs {
            role: hello.role as u8,
            cluster: Some(&cluster),
            node: hello.node.0,
            core: hello.core.0,
            to_node: hello.to_node.0,
            to_core: hello.to_core.0,
            directory: Some(&directory),
            incarnation: hello.incarnation.0,
            tick_ms: hello.tick_ms,
            election_ticks: hello.election_ticks,
        };
        let body = wire::Hello::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        self.finished_frame(out, FrameKind::Hello, 0);
    }

    /// Appends a Welcome frame.
    pub fn welcome(&mut self, out: &mut Vec<u8>, welcome: &Welcome) {
        self.builder.reset();
        let cluster = id128(welcome.cluster.0);
        let args = wire::WelcomeArgs {
            cluster: Some(&cluster),
            node: welcome.node.0,
            core: welcome.core.0,
            incarnation: welcome.incarnation.0,
            map_epoch: welcome.map_epoch.0,
        };
        let body = wire::Welcome::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        self.finished_frame(out, FrameKind::Welcome, 0);
    }

    /// Appends a Goodbye frame; nothing may follow it.
    pub fn goodbye(&mut self, out: &mut Vec<u8>, goodbye: &Goodbye) {
        self.builder.reset();
        let wire = goodbye.to_wire();
        let [a, b, c, d] = wire.args;
        let (theirs, ours) = (id128(wire.theirs), id128(wire.ours));
        let args = wire::GoodbyeArgs {
            code: wire.code,
            a,
            b,
            c,
            d,
            theirs: Some(&theirs),
            ours: Some(&ours),
        };
        let body = wire::Goodbye::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        self.finished_frame(out, FrameKind::Goodbye, 0);
    }
}

/// What a Hello frame says.
///
/// # Errors
/// [`FrameError`] if it is not one.
pub fn decode_hello(frame: &Frame) -> Result<Hello, FrameError> {
    let body = root::<wire::Hello<'_>>(frame, FrameKind::Hello)?;
    Ok(Hello {
        role: Role::from_wire(body.role()).ok_or(FrameError::Malformed {
            kind: frame.kind,
            what: "its role is unknown",
        })?,
        cluster: ClusterId(u128_of(body.cluster())),
        node: NodeId(body.node()),
        core: CoreId(body.core()),
        to_node: NodeId(body.to_node()),
        to_core: CoreId(body.to_core()),
        directory: DirectoryId(u128_of(body.directory())),
        incarnation: Incarnation(body.incarnation()),
        tick_ms: body.tick_ms(),
        election_ticks: body.election_ticks(),
    })
}

/// What a Welcome frame says.
///
/// # Errors
/// [`FrameError`] if it is not one; the answer to a Hello may also be a Goodbye frame.
pub fn decode_welcome(frame: &Frame) -> Result<Welcome, FrameError> {
    let body = root::<wire::Welcome<'_>>(frame, FrameKind::Welcome)?;
    Ok(Welcome {
        cluster: ClusterId(u128_of(body.cluster())),
        node: NodeId(body.node()),
        core: CoreId(body.core()),
        incarnation: Incarnation(body.incarnation()),
        map_epoch: MapEpoch(body.map_epoch()),
    })
}

/// What a Goodbye frame says.
///
/// # Errors
/// [`FrameError`] if it is not one.
pub fn decode_goodbye(frame: &Frame) -> Result<Goodbye, FrameError> {
    let body = root::<wire::Goodbye<'_>>(frame, FrameKind::Goodbye)?;
    Ok(Goodbye::from_wire(WireGoodbye {
        code: body.code(),
        args: [body.a(), body.b(), body.c(), body.d()],
        theirs: body.theirs().map_or(0, u128_of),
        ours: body.ours().map_or(0, u128_of),
    }))
}
