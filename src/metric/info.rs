//! Texts that describe something.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::series::Selectors;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::LabelSet;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;

/// What something is: a version, a configuration, a peer. All that it says is in its labels, as in OpenMetrics's info.
///
/// Labels that are known beforehand are [constant](InfoBuilder::constant); if all are, the info is shown from the start and sees no event. The others
/// are those of the last event: when one changes, the series of before ends and another begins, so there is never more than one. Recorders that are folded
/// show how many of them have the same labels; one that is removed counts no more.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Info, Label, Metric, Timestamp, Verdict};
///
/// struct Elected { leader: String }
///
/// let mut cluster = Info::<Elected>::builder("cluster")
///     .constant("region", "eu")
///     .label("leader", |e| Label::from(&e.leader))
///     .build()?;
/// for leader in ["anna", "ben"] {
///     let context = Context::new(Timestamp::default(), 1);
///     assert_eq!(cluster.handle_event(&Elected { leader: leader.into() }, &context), Verdict::Accepted);
/// }
/// let mut family = Family::new(cluster.descriptor().clone());
/// cluster.snapshot(&mut FamilyWriter::whole(&mut family));
/// assert_eq!(family.len(), 1);
/// assert!(family.find(&[("leader", "ben"), ("region", "eu")]).is_some());
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Info<E> {
    intake: Intake<E>,
    /// Of the labels that events tell.
    selectors: Selectors<E>,
    told_keys: Box<[Box<str>]>,
    constant: Box<[(Box<str>, Box<str>)]>,
    /// What the labels are now, and since when; nothing before the first event.
    now: Option<(LabelSet, Timestamp)>,
}

/// Collects what an [`Info`] is.
pub type InfoBuilder<E> = InstrumentBuilder<E, Info<E>>;

impl<E: 'static> Info<E> {
    /// Starts an info of this name.
    pub fn builder(name: &str) -> InfoBuilder<E> {
        InstrumentBuilder::new(name, Kind::Info)
    }
}

impl<E: 'static> InfoBuilder<E> {
    /// A label whose value is known beforehand.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Family, FamilyWriter, Info, Metric};
    ///
    /// let build = Info::<()>::builder("build").constant("version", "1.4.2").build()?;
    /// let mut family = Family::new(build.descriptor().clone());
    /// build.snapshot(&mut FamilyWriter::whole(&mut family));
    /// assert!(family.find(&[("version", "1.4.2")]).is_some()); // without any event
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn constant(mut self, key: &str, value: &str) -> Self {
        self.descriptor = self.descriptor.label(key);
        self.constants.push((key.into(), value.into()));
        self
    }

    /// Checks everything and makes the info.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`] without a label; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(mut self) -> Result<Info<E>, Error> {
        let constant: Box<[_]> = std::mem::take(&mut self.constants).into();
        let told_keys = self.told_keys();
        let parts = self.into_parts()?;
        let (intake, selectors) = (parts.intake, parts.selectors);
        if constant.is_empty() && told_keys.is_empty() {
            let message = "an info without labels says nothing: call `.constant(key, value)` or `.label(key, |event| ..)`";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let mut info = Info { intake, selectors, told_keys, constant, now: None };
        if info.told_keys.is_empty() {
            info.now = Some((info.labelled(&[])?, Timestamp::default()));
        }
        Ok(info)
    }
}

impl<E> Info<E> {
    fn labelled(&self, told: &[String]) -> Result<LabelSet, Error> {
        let constant = self.constant.iter().map(|(key, value)| (&**key, &**value));
        let told = self.told_keys.iter().zip(told).map(|(key, value)| (&**key, value.as_str()));
        LabelSet::new(constant.chain(told))
    }
}

impl<E: 'static> Metric<E> for Info<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        // What is constant costs no event anything.
        if self.told_keys.is_empty() { Interests::Only(Vec::new()) } else { self.intake.interests() }
    }

    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        if self.told_keys.is_empty() || self.intake.take(event, Amount::Unsigned(1)).is_none() {
            return Verdict::Ignored;
        }
        let told = self.selectors.texts(event);
        let known = |labels: &LabelSet| {
            self.told_keys
                .iter()
                .zip(&told)
                .all(|(key, value)| labels.get(key).unwrap_or_default() == value.as_str())
        };
        if !self.now.as_ref().is_some_and(|(labels, _)| known(labels)) {
            // The keys were checked with the descriptor.
            if let Ok(labels) = self.labelled(&told) {
                self.now = Some((labels, context.now()));
            }
        }
        Verdict::Accepted
    }

    fn heap_bytes(&self) -> usize {
        let keys = size_of_val(&*self.told_keys) + self.told_keys.iter().map(|key| key.len()).sum::<usize>();
        let constant = self.constant.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let now = self.now.as_ref().map_or(0, |(labels, _)| labels.heap_bytes());
        let labels = keys + size_of_val(&*self.constant) + constant + now;
        self.intake.heap_bytes() + self.selectors.heap_bytes() + labels
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        if let Some((labels, since)) = &self.now {
            writer.started(*since).info(labels);
        }
    }

    fn at_first(&self) -> Option<Family> {
        let (labels, since) = self.now.as_ref()?;
        let mut family = Family::new(Arc::clone(&self.intake.descriptor));
        FamilyWriter::whole(&mut family).started(*since).info(labels);
        Some(family)
    }
}

impl<E> fmt::Debug for Info<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info").field("intake", &self.intake).field("now", &self.now).finish()
    }
}
