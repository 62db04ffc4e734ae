//! What `status` and `top` say of a core, in the same words.

use margate_client::Error;
use margate_net::ids::{CoreId, NodeId};
use margate_net::message::DiskRoom;

use crate::error::Failure;
use crate::output::Object;

/// Which core it is, for programs.
pub(crate) fn object(node: NodeId, core: CoreId) -> Object {
    Object::default().field("node", node.0).field("core", core.0)
}

/// That it does not answer, for people.
pub(crate) fn no_answer(node: NodeId, core: CoreId, why: &str) -> String {
    format!("node {node}, core {core}, no answer: {why}")
}

/// What stood in the way of an answer; that nothing was executed goes without saying.
pub(crate) fn obstacle(error: &Error) -> String {
    match error {
        Error::Unavailable { last, .. } => last.to_string(),
        Error::Abandoned
        | Error::Closed
        | Error::OutOfOrder(_)
        | Error::OutcomeUnknown { .. }
        | Error::Protocol(_)
        | Error::Refused(_)
        | Error::Timeout { .. } => Failure::from(error.clone()).to_string(),
    }
}

/// How much room its disk has.
pub(crate) fn room(room: DiskRoom) -> &'static str {
    match room {
        DiskRoom::Ample => "ample",
        DiskRoom::Low => "low",
        DiskRoom::Full => "full",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use margate_client::CoreStatusReply;
    use margate_net::message::CoreStatus;

    /// A core's answer.
    pub(crate) fn reply(status: CoreStatus) -> CoreStatusReply {
        CoreStatusReply {
            address: ([127, 0, 0, 1], 7_400).into(),
            node: status.node,
            core: status.core,
            status: Ok(status),
        }
    }
}
