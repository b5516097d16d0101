//! Renderings that are shared: requests that overlap get the same bytes.
//!
//! A request joins a rendering whose state has not been collected yet, and never one whose state is older than the request: what a client has
//! flushed before it asks is in its answer. So at any time there is one rendering of a form under way and one that waits for it, however many
//! clients ask; and a client reads bytes that it shares with all others of its rendering.

use crate::edge::pool::Pool;
use crate::edge::sources;
use crate::export::pages::render;
use crate::export::pages::render::Form;
use crate::export::pages::render::Look;
use crate::model::error::Error;
use crate::model::limits;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::runtime::reader::RuntimeReader;
use crate::sync::Mutex;
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// The renderings of one server.
pub(super) struct Flights(Arc<Shared>);

/// What was scraped, and at what cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScrapeCounts {
    /// Requests that joined a rendering or began one.
    pub(crate) scrapes: u64,
    /// Renderings made.
    pub(crate) renderings: u64,
    /// Requests that found too many renderings in memory.
    pub(crate) refused: u64,
    /// Times that a rendering did not wait for its sources any longer, or could not ask them at all.
    pub(crate) late_sources: u64,
    /// The time of all renderings together, without that of sources.
    pub(crate) rendering_time: Duration,
    /// The longest of them.
    pub(crate) longest_rendering: Duration,
    /// Renderings in memory now.
    pub(crate) held: usize,
    /// Their bytes.
    pub(crate) held_bytes: usize,
}

/// A rendered page. `Clone` shares it.
#[derive(Clone)]
pub(super) struct Rendering {
    pub(super) bytes: Bytes,
}

struct Shared {
    reader: RuntimeReader,
    look: Look,
    patience: Duration,
    renderers: Pool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flights: HashMap<Form, Flight>,
    /// How long the text of a form was last.
    lengths: HashMap<Form, usize>,
    counts: ScrapeCounts,
}

/// The renderings of one form: there is an entry while one is under way.
struct Flight {
    /// Not begun: whoever comes now joins it.
    next: Option<Waiting>,
}

struct Waiting {
    rendering: Operation<Rendering>,
    done: Completer<Rendering>,
    place: Place,
}

impl Flights {
    pub(super) fn new(reader: RuntimeReader, look: Look, patience: Duration) -> Self {
        // A form waits once, and there are a few; the bound is for the unforeseen.
        let renderers = Pool::new(format!("{}.render", reader.namespace()), limits::RENDER_THREADS, 64);
        let state = Mutex::new(State::default());
        Self(Arc::new(Shared { reader, look, patience, renderers, state }))
    }

    /// The rendering that a request of this form gets, which may be another's as well; `None` if there are too many in memory.
    pub(super) fn join(&self, form: Form) -> Option<Operation<Rendering>> {
        let begins;
        let rendering;
        {
            let mut state = self.0.state.lock();
            if let Some(next) = state.flights.get(&form).and_then(|flight| flight.next.as_ref()) {
                rendering = next.rendering.clone();
                state.counts.scrapes += 1;
                return Some(rendering);
            }
            if state.counts.is_full() {
                state.counts.refused += 1;
                return None;
            }
            state.counts.scrapes += 1;
            state.counts.held += 1;
            let place = Place { shared: Arc::clone(&self.0), bytes: 0 };
            let (operation, done) = Operation::new(None);
            rendering = operation.clone();
            begins = !state.flights.contains_key(&form);
            let flight = state.flights.entry(form).or_insert(Flight { next: None });
            flight.next = Some(Waiting { rendering: operation, done, place });
        }
        if begins {
            Shared::begin(&self.0, form);
        }
        Some(rendering)
    }

    pub(super) fn counts(&self) -> ScrapeCounts {
        self.0.state.lock().counts
    }
}

impl ScrapeCounts {
    /// Whether there is no room for one rendering more.
    pub(super) fn is_full(&self) -> bool {
        self.held >= limits::MAX_RENDERINGS && self.held_bytes >= limits::SMALL_RENDERINGS
    }
}

impl Shared {
    /// Sends the next rendering of a form to the threads that render.
    fn begin(shared: &Arc<Self>, form: Form) {
        let landing = Landing { shared: Arc::clone(shared), form, landed: false };
        // One that is refused is dropped with its closure, and whoever waits learns it by that.
        shared.renderers.run(move || landing.fly());
    }

    /// Asks the sources, and waits for them for a while: one that hangs keeps its thread, and what it gave last is shown.
    fn ask_sources(&self) {
        // Waited for without the runtime, which may go meanwhile.
        let late = self.reader.with(sources::ask).map(|asking| asking.wait(self.patience));
        if late.is_some_and(|late| late > 0) {
            self.state.lock().counts.late_sources += 1;
        }
    }

    fn render(&self, form: Form) -> Result<Vec<u8>, Error> {
        let expected = self.state.lock().lengths.get(&form).copied().unwrap_or_default();
        let began = Instant::now();
        // A little more than last time, so that the text is not moved as it grows.
        let rendered = render::render(&self.reader, self.look, form, expected + expected / 16);
        let took = began.elapsed();
        let mut state = self.state.lock();
        state.counts.renderings += 1;
        state.counts.rendering_time += took;
        state.counts.longest_rendering = state.counts.longest_rendering.max(took);
        let rendered = rendered?;
        state.lengths.insert(form, rendered.plain);
        Ok(rendered.body)
    }
}

/// One rendering of a form on a thread that renders. However it ends, the form's next one is begun.
struct Landing {
    shared: Arc<Shared>,
    form: Form,
    landed: bool,
}

impl Landing {
    fn fly(mut self) {
        self.shared.ask_sources();
        let waiting = self.take();
        // Nobody joins any more: here the state is collected.
        if let Some(Waiting { rendering, done, place }) = waiting {
            drop(rendering);
            // Whoever asked may have gone.
            if done.is_awaited() {
                let rendered = self.shared.render(self.form);
                done.complete(rendered.map(|body| Rendering { bytes: place.hold(body) }));
            }
        }
        self.land();
    }

    fn take(&self) -> Option<Waiting> {
        let mut state = self.shared.state.lock();
        state.flights.get_mut(&self.form).and_then(|flight| flight.next.take())
    }

    fn land(&mut self) {
        self.landed = true;
        let goes_on = {
            let mut state = self.shared.state.lock();
            let goes_on = state.flights.get(&self.form).is_some_and(|flight| flight.next.is_some());
            if !goes_on {
                state.flights.remove(&self.form);
            }
            goes_on
        };
        if goes_on {
            Shared::begin(&self.shared, self.form);
        }
    }
}

/// It panicked, or no thread could be had for it.
impl Drop for Landing {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        // Their end tells whoever waits that there is no rendering.
        drop(self.take());
        self.shared.state.lock().flights.remove(&self.form);
    }
}

/// A rendering's place in memory, given back with its last byte.
struct Place {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Place {
    fn hold(mut self, body: Vec<u8>) -> Bytes {
        self.bytes = body.capacity();
        self.shared.state.lock().counts.held_bytes += self.bytes;
        Bytes::from_owner(Held { body, _place: self })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.counts.held -= 1;
        state.counts.held_bytes -= self.bytes;
    }
}

struct Held {
    body: Vec<u8>,
    _place: Place,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("counts", &self.counts()).finish()
    }
}
