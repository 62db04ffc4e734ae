//! What a core has counted and measured: vectors of a status.
//!
//! Of each span all buckets that have counted something follow each other; spans say how many each has. All four vectors and the
//! traffic are there, or none.

use flatbuffers::{FlatBufferBuilder, Vector, WIPOffset};

use super::OperationKind;
use crate::generated::margate::wire;
use crate::ids::{CoreId, NodeId};
use crate::limits::{CORES_MAX, NODES_MAX};
use crate::measure::{Histogram, Measures, Numbers, Outcomes, Span, Times, Traffic};

/// Peers' cores that one core has links to.
const PEER_CORES_MAX: usize = NODES_MAX * CORES_MAX;

/// The vectors, as a status in the making names them.
#[derive(Default)]
pub(super) struct Vectors {
    pub(super) numbers: Option<WIPOffset<Vector<'static, u64>>>,
    pub(super) outcomes: Option<WIPOffset<Vector<'static, wire::OutcomeFields>>>,
    pub(super) spans: Option<WIPOffset<Vector<'static, wire::SpanFields>>>,
    pub(super) buckets: Option<WIPOffset<Vector<'static, wire::BucketFields>>>,
    pub(super) traffic: Option<WIPOffset<Vector<'static, wire::TrafficFields>>>,
}

/// Writes them.
pub(super) fn write(builder: &mut FlatBufferBuilder<'static>, measures: &Measures) -> Vectors {
    let outcomes: Vec<_> = measures
        .outcomes
        .counted()
        .map(|(kind, result, count)| wire::OutcomeFields::new(count, result, kind as u8))
        .collect();
    let (mut spans, mut buckets) = (Vec::with_capacity(Span::COUNT), Vec::new());
    for span in Span::all() {
        let (times, before) = (measures.times.get(span), buckets.len());
        buckets.extend(times.filled().map(|(at, count)| wire::BucketFields::new(count, at)));
        let filled = u16::try_from(buckets.len() - before).expect("a histogram has fewer buckets");
        spans.push(wire::SpanFields::new(times.sum(), filled));
    }
    let traffic: Vec<_> = measures.traffic.iter().map(traffic_fields).collect();
    Vectors {
        numbers: Some(builder.create_vector(measures.numbers.values())),
        outcomes: Some(builder.create_vector(&outcomes)),
        spans: Some(builder.create_vector(&spans)),
        buckets: Some(builder.create_vector(&buckets)),
        traffic: Some(builder.create_vector(&traffic)),
    }
}

/// Reads them; `Ok(None)` if there are none, `Err` if they make no sense.
pub(super) fn read(status: &wire::Status<'_>) -> Result<Option<Measures>, &'static str> {
    let Some(numbers) = status.numbers() else { return Ok(None) };
    let rest = (status.outcomes(), status.spans(), status.buckets(), status.traffic());
    let (Some(outcomes), Some(spans), Some(buckets), Some(traffic)) = rest else {
        return Err("some of its measures are missing");
    };
    if traffic.len() > PEER_CORES_MAX {
        return Err("it has more peers than there are cores");
    }
    Ok(Some(Measures {
        numbers: Numbers::from_values(numbers.iter()).ok_or("it has more or fewer numbers than this build")?,
        outcomes: read_outcomes(outcomes).ok_or("an operation was answered in a way that this build does not know")?,
        times: read_times(spans, buckets).ok_or("its times are not those of this build")?,
        traffic: traffic.iter().map(read_traffic).collect(),
    }))
}

fn read_outcomes(fields: Vector<'_, wire::OutcomeFields>) -> Option<Outcomes> {
    let mut outcomes = Outcomes::default();
    for cell in &fields {
        let kind = OperationKind::from_wire(cell.kind())?;
        outcomes.set(kind, cell.result(), cell.count())?;
    }
    Some(outcomes)
}

fn read_times(spans: Vector<'_, wire::SpanFields>, buckets: Vector<'_, wire::BucketFields>) -> Option<Times> {
    let mut buckets = buckets.iter();
    let mut times = Times::default();
    if spans.len() != Span::COUNT {
        return None;
    }
    for (place, span) in spans.iter().enumerate() {
        let wanted = usize::from(span.buckets());
        if wanted > buckets.len() {
            return None;
        }
        let filled = buckets.by_ref().take(wanted).map(|bucket| (bucket.at(), bucket.count()));
        times.set(place, Histogram::from_filled(filled, span.sum())?)?;
    }
    (buckets.len() == 0).then_some(times)
}

fn traffic_fields(traffic: &Traffic) -> wire::TrafficFields {
    wire::TrafficFields::new(
        traffic.node.0,
        traffic.frames_sent,
        traffic.bytes_sent,
        traffic.frames_dropped,
        traffic.frames_received,
        traffic.bytes_received,
        traffic.core.0,
    )
}

fn read_traffic(fields: &wire::TrafficFields) -> Traffic {
    Traffic {
        node: NodeId(fields.node()),
        core: CoreId(fields.core()),
        frames_sent: fields.frames_sent(),
        bytes_sent: fields.bytes_sent(),
        frames_dropped: fields.frames_dropped(),
        frames_received: fields.frames_received(),
        bytes_received: fields.bytes_received(),
    }
}
