//! Every bound in one place, with its default.

use std::time::Duration;

/// Different lists of metrics of which what recorders show before their first event is kept once for all of them.
pub const SHARED_FIRST_CUTS: usize = 64;

/// Pending events of a recorder whose builder names no capacity.
pub const DEFAULT_CAPACITY: u32 = 8_192;

/// The largest capacity that can be asked for.
pub const MAX_CAPACITY: u32 = 1 << 24;

/// Events dispatched in one turn of a recorder before another recorder gets its turn.
pub const TURN_EVENTS: u64 = 64;

/// Time after which a turn ends, checked between chunks of events.
pub const TURN_TIME: Duration = Duration::from_millis(1);

/// Series of one metric in one recorder.
pub const DEFAULT_CARDINALITY: u32 = 2_000;

/// The largest cardinality limit that can be asked for.
pub const MAX_CARDINALITY: u32 = 1 << 20;

/// Series of one metric over all recorders of a runtime, as it is exported, unless the runtime's builder says otherwise.
pub const DEFAULT_EXPORTED_CARDINALITY: u32 = 10_000;

/// Groups of recorders that can be named in a runtime.
pub const MAX_GROUPS: usize = 1_000;

/// Processes whose runtimes are merged as one.
pub const MAX_MERGED_PROCESSES: usize = 10_000;

/// How often it is looked for idle series, at most, in the time after which they expire.
pub const EXPIRY_LOOKS: u32 = 8;

/// Sources of a runtime.
pub const MAX_SOURCES: usize = 64;

/// Metrics of one source.
pub const MAX_SOURCE_METRICS: usize = 128;

/// Metrics that one source finds by [looking](crate::SourceWriter::find), in the whole of its life.
pub const MAX_FOUND_METRICS: usize = 1_024;

/// Recorders of a runtime whose builder says nothing.
pub const DEFAULT_RECORDERS: u32 = 1 << 20;

/// The largest number of recorders that a runtime can be given room for.
pub const MAX_RECORDERS: u32 = 1 << 28;

/// From twice as many recorders on, a collection looks at them by several threads: with fewer, a thread costs more than it takes off.
pub(crate) const RECORDERS_OF_A_THREAD: usize = 16_384;

/// Threads of one collection of very many recorders, where there are as many cores.
pub(crate) const THREADS_OF_A_COLLECTION: usize = 4;

/// Series of a recorder that any thread may add to its group, when it removes the recorder: with more the worker does.
pub(crate) const SERIES_OF_ANY_THREAD: usize = 64;

/// Bytes of the text of another library's registry that is read as a source.
pub const MAX_REGISTRY_BYTES: usize = 32 << 20;

/// Names of a dynamic set whose builder names no limit.
pub const DEFAULT_DYNAMIC_NAMES: usize = 256;

/// The most names that a dynamic set can be allowed: each event is shown to every one of its metrics.
pub const MAX_DYNAMIC_NAMES: usize = 4_096;

/// Label keys of one metric.
pub const MAX_LABELS: usize = 16;

/// Label sets of a typed set of labels that are found by their index; sets of more are found by hash.
pub const MAX_DENSE_LABELS: usize = 4_096;

/// Bounds of one explicit-bucket histogram.
pub const MAX_BOUNDS: usize = 512;

/// Buckets of each sign of an exponential histogram whose builder names no number, as in OpenTelemetry.
pub const DEFAULT_EXPONENTIAL_BUCKETS: u32 = 160;

/// The fewest buckets of each sign that an exponential histogram can be held to: with fewer, not every range would fit.
pub const MIN_EXPONENTIAL_BUCKETS: u32 = 3;

/// The most buckets of each sign that an exponential histogram can be allowed.
pub const MAX_EXPONENTIAL_BUCKETS: u32 = 1_024;

/// Significant digits of a summary whose builder names no number.
pub const DEFAULT_SUMMARY_DIGITS: u8 = 2;

/// The most significant digits that a summary can be asked for; each of them takes eight to ten times the memory.
pub const MAX_SUMMARY_DIGITS: u8 = 4;

/// Doublings between the smallest and the largest magnitude that a summary tells with all its digits.
pub const MAX_SUMMARY_OCTAVES: u32 = 64;

/// Quantiles that a summary can name for exporters.
pub const MAX_QUANTILES: usize = 16;

/// How long the window of a rate or a windowed summary is whose builder names no length.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(60);

/// The longest window.
pub const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest stretch of a window, which is cut into slots.
pub const MIN_WINDOW_SLOT: Duration = Duration::from_millis(1);

/// Slots of the window of a rate whose builder names no number.
pub const DEFAULT_RATE_SLOTS: u32 = 12;

/// Slots of the window of a summary whose builder names no number; each may hold as much as a summary.
pub const DEFAULT_SUMMARY_SLOTS: u32 = 6;

/// The most slots of a window.
pub const MAX_WINDOW_SLOTS: u32 = 240;

/// Characters of the labels of an exemplar, keys and values together, as OpenMetrics limits them.
pub const MAX_EXEMPLAR_CHARS: usize = 128;

/// How long an exemplar is held before a newer one takes its place: events in between are not asked for theirs.
pub const EXEMPLAR_HOLD: Duration = Duration::from_secs(1);

/// Exemplars of one series of an exponential histogram; other kinds have one for each bucket, or one.
pub const EXPONENTIAL_EXEMPLARS: usize = 8;

/// States of one state set.
pub const MAX_STATES: usize = 64;

/// Bytes of one line of an event log, unless its reader says otherwise.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Bytes that wait for a slow writer of an event log; what goes beyond is lost and counted.
pub const MAX_LOG_BACKLOG_BYTES: usize = 16 << 20;

/// Bytes of a metric name, as OpenTelemetry limits it.
pub const MAX_NAME_BYTES: usize = 255;

/// Bytes of a recorder id or entity.
pub const MAX_ID_BYTES: usize = 1_024;

/// Changes of one recorder (metrics, observers) that may wait for its next turn; one more fails at once.
pub const MAX_COMMANDS: usize = 1 << 12;

/// Answers of one kind (to flushes, stops, starts, producers without room) that callers may wait for at one recorder; one more fails at once.
/// Flushes of the same events count once, and what nobody waits for (any more) does not count.
pub const MAX_WAITING: usize = 1 << 16;

/// Bytes of a panic's message that an incident repeats.
pub const MAX_PANIC_BYTES: usize = 256;

/// How long a recorder must not have lost an event for its loss to be over. Not longer than [`RELEASE_AFTER`], because
/// the same look at an idle recorder serves both.
pub const LOSS_QUIET: Duration = RELEASE_AFTER;

/// Recorders whose memory the worker asks for ahead of their turns.
pub(crate) const AHEAD: usize = 8;

/// The least time between two publications of one recorder that inspection logs.
pub const INSPECTION_INTERVAL: Duration = Duration::from_secs(1);

/// How long an idle recorder keeps the memory of its queue.
pub const RELEASE_AFTER: Duration = Duration::from_millis(500);

/// Series of a metric up to which the metric itself gives them up while its recorder is idle, since they are in what was published last: to make
/// them again takes the next turn some time for each.
pub const SERIES_AT_REST: usize = 64;

/// How often the idle worker looks for recorders whose memory can be released.
pub const RELEASE_PASS: Duration = Duration::from_millis(250);

/// Recorders looked at in one step of a release pass, so that a pass over many never holds the worker long.
pub const RELEASE_SLICE: usize = 256;

/// The least time between two publication passes of the worker.
pub const PUBLISH_INTERVAL: Duration = Duration::from_micros(100);

/// How much later a publication pass is, at most, while there are events in hand: so a burst is shown once, as a whole.
pub const PUBLISH_LATEST: Duration = Duration::from_micros(200);

/// How many times its own duration a publication pass is put off: nine keep it to a tenth of the worker's time.
pub const PUBLISH_PAUSE: u32 = 9;

/// How long a nap of the worker lasts at most; commands end it earlier, events wait for it. With what systems add to a timer (50 µs
/// on Linux) it is half a millisecond.
pub const NAP: Duration = Duration::from_micros(450);

/// Naps without anything to do before the worker sleeps.
pub const NAPS: u32 = 16;

/// How long a start may take until the worker has reported.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The deadline of the shutdown that dropping the last handle of a runtime begins.
pub const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// What a shutdown grants the worker, after its deadline, to end.
pub const EXIT_GRACE: Duration = Duration::from_millis(50);

/// How long a lifecycle hook may take, unless the builder says otherwise.
pub const HOOK_DEADLINE: Duration = Duration::from_secs(5);

/// A call of user code that takes longer is named as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Exporters of a runtime.
pub const MAX_EXPORTERS: usize = 64;

/// How long one attempt of an exporter may take, unless its schedule says otherwise.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an exporter tries again, after a failure that is worth it, unless its schedule says otherwise.
pub const EXPORT_RETRIES: u32 = 3;

/// The longest pause before an exporter's second attempt, unless its schedule says otherwise; it doubles with each further one.
pub const EXPORT_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two attempts of an exporter, also if the other side asks for more: the next time of the schedule comes by itself.
pub const MAX_EXPORT_PAUSE: Duration = Duration::from_secs(30);

/// The shortest interval of an exporter's schedule.
pub const MIN_EXPORT_INTERVAL: Duration = Duration::from_millis(1);

/// Bytes of one datagram of StatsD over UDP, unless its exporter says otherwise: what one packet of an Ethernet takes, with room for what is around it.
pub const STATSD_UDP_BYTES: usize = 1_432;

/// Bytes of one datagram of StatsD over a unix socket, unless its exporter says otherwise: what Datadog's agent reads.
pub const STATSD_UNIX_BYTES: usize = 8_192;

/// The shortest limit of a datagram's bytes that can be asked for.
pub const MIN_DATAGRAM_BYTES: usize = 64;

/// The longest limit of a datagram's bytes that can be asked for: what fits into one of UDP over IPv4.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// Counters that a StatsD exporter remembers for their deltas, unless it says otherwise.
pub const STATSD_COUNTERS: usize = 1 << 20;

/// How long the address of a name holds for which a StatsD exporter has a socket, before it is looked up anew.
pub const STATSD_LOOK_UP: Duration = Duration::from_secs(60);

/// How long a thread of a pool rests for the next job before it ends.
pub const POOL_REST: Duration = Duration::from_secs(10);

/// Threads of a server that render; one rendering of a format is made at a time, so a second thread serves another format.
pub const RENDER_THREADS: usize = 2;

/// Threads of a runtime on which exporters and servers ask its sources; as many sources may hang at most before what they gave last is all that is shown.
pub const SOURCE_THREADS: usize = 4;

/// How long a scrape waits for sources, unless its server's builder says otherwise, and an exporter at most.
pub const SOURCE_PATIENCE: Duration = Duration::from_secs(1);

/// Which part of an attempt's time an exporter waits for sources at most: a tenth.
pub const SOURCE_SHARE: u32 = 10;

/// Renderings in memory at a time: those being made, and those that a client is still reading. One more is refused.
pub const MAX_RENDERINGS: usize = 4;

/// Bytes of renderings that do not count against [`MAX_RENDERINGS`].
pub const SMALL_RENDERINGS: usize = 4 << 20;

/// How long a request of a server may wait for its rendering.
pub const RENDER_PATIENCE: Duration = Duration::from_secs(10);

/// How long the head of a request may take from its first byte (for a new connection from the beginning), unless the builder says otherwise.
pub const HEAD_TIME: Duration = Duration::from_secs(5);

/// Bytes of the head of a request, unless the builder says otherwise.
pub const MAX_HEAD_BYTES: usize = 16 << 10;

/// The fewest bytes that a head can be held to.
pub const MIN_HEAD_BYTES: usize = 1 << 10;

/// How long an answer may take from the request's head to its last byte, unless the builder says otherwise.
pub const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long a connection may stay open between two requests, unless the builder says otherwise: more than a minute, the usual interval of scrapes.
pub const KEPT_TIME: Duration = Duration::from_secs(75);

/// Connections that are being answered at a time, unless the builder says otherwise.
pub const MAX_ANSWERED: usize = 64;

/// Connections without a complete head (half-sent, or between two requests); of one more the oldest is cut.
pub const MAX_HEADLESS: usize = 256;

/// How long a connection may be without a complete head before another's arrival cuts it: of many at once, each has the time to send its own.
pub const HEADLESS_LEAST: Duration = Duration::from_millis(100);

/// How long a client takes nothing of its answer before its connection may be cut for another's sake. Longer than a client waits for its
/// turn on a machine on which a thousand of them are at it.
pub const STALLED_AFTER: Duration = Duration::from_secs(1);

/// How long an answer is being written before its connection may be cut for another's sake, if its client takes less than
/// [`LEAST_RATE`].
pub const SLOW_AFTER: Duration = Duration::from_secs(1);

/// Bytes in a second that a client takes who is not slow.
pub const LEAST_RATE: u64 = 1 << 20;

/// How often a request that waits for room looks for it.
pub const ROOM_LOOK: Duration = Duration::from_millis(25);

/// How long a request waits while there are too many renderings in memory for one more.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(2);

/// How long a server whose handle was dropped lets answers be finished.
pub const SERVER_GRACE: Duration = Duration::from_secs(5);

/// How long a server waits after it could not accept a connection (such as without file descriptors) before it tries again.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of one request that is pushed; more is not sent.
pub const MAX_PUSH_BYTES: usize = 64 << 20;

/// Bytes of an answer to a push; more is not read.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Bytes of one OTLP request before compression, unless its exporter says otherwise: below the 4 MiB that receivers take.
pub const OTLP_REQUEST_BYTES: usize = 3 << 20;

/// Series of one remote-write request, unless its exporter says otherwise.
pub const REMOTE_WRITE_SERIES: usize = 5_000;
