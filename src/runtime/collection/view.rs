//! Views: what of a runtime one exporter shows, and under which names and labels.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::Label;
use crate::model::label::LabelSet;
use crate::model::name::LabelKey;
use crate::model::name::MetricName;
use crate::model::pattern::NamePattern;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Kind;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use std::collections::HashSet;
use std::sync::Arc;

/// What of a runtime is shown to one exporter: which metrics, under which names, with which labels, by recorder or by group.
///
/// It is laid over a snapshot by [`RuntimeSnapshot::with_view`] and changes what [`families`](RuntimeSnapshot::families) and
/// [`vitals`](RuntimeSnapshot::vitals) give, so it holds for every format. The snapshot's values are the same, shared. `Clone` shares the view.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::{Fold, View};
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// for id in ["left", "right"] {
///     let recorder = runtime
///         .recorder::<Saved>(id)
///         .counter("document.saves", |c| c)
///         .counter("document.internal.steps", |c| c)
///         .create()?;
///     recorder.register_event(Saved);
///     recorder.flush_blocking(Duration::from_secs(5))?;
/// }
/// let view = View::builder()
///     .exclude("document.internal.*")
///     .rename("document.saves", "shop.documents.saved")
///     .label("region", "eu")
///     .fold(Fold::Group)
///     .build()?;
/// let snapshot = runtime.collect().with_view(&view);
/// let families = snapshot.families(Fold::Recorder); // the view's word holds
/// let [saved] = &families[..] else { unreachable!() };
/// assert_eq!(saved.descriptor().name().as_str(), "shop.documents.saved");
/// let part = &saved.parts()[0];
/// assert_eq!(part.labels().collect::<Vec<_>>(), [("region", "eu")]);
/// assert_eq!(part.family().series().next().and_then(|series| series.value().counter()), Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct View(Arc<Rules>);

#[derive(Clone, Debug, Default)]
struct Rules {
    fold: Option<Fold>,
    included: Vec<NamePattern>,
    excluded: Vec<NamePattern>,
    renamed: Vec<(MetricName, MetricName)>,
    reshaped: Vec<(NamePattern, Change)>,
    labels: LabelSet,
    no_entity: bool,
}

/// What is shown of a metric otherwise.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Its series without this label, added up.
    DropLabel(LabelKey),
    /// This label by another key.
    RenameLabel(LabelKey, LabelKey),
    /// Its histograms with these bounds, if they have them.
    Bounds(Box<[f64]>),
}

/// Collects the rules of a [`View`]; mistakes are told by [`build`](Self::build).
#[derive(Clone, Debug, Default)]
#[must_use = "a view is made by `build`"]
pub struct ViewBuilder {
    rules: Rules,
    labels: Vec<(String, String)>,
    error: Option<Error>,
}

impl View {
    /// A view that changes nothing, to be given rules.
    pub fn builder() -> ViewBuilder {
        ViewBuilder::default()
    }

    pub(super) fn fold(&self, asked: Fold) -> Fold {
        self.0.fold.unwrap_or(asked)
    }

    /// The labels that every series has besides its own, sorted by key.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.labels.iter()
    }

    pub(super) fn hides(&self, key: &str) -> bool {
        self.0.no_entity && key == "entity"
    }

    /// Applies the rules to the program's metrics, or to our own.
    pub(super) fn apply<'a>(&'a self, families: &mut Vec<ExportedFamily<'a>>, ours: bool, at: Timestamp) {
        let Rules { included, excluded, renamed, reshaped, .. } = &*self.0;
        families.retain(|family| {
            let name = family.descriptor().name();
            let wanted = ours || included.is_empty() || included.iter().any(|pattern| pattern.matches(name));
            wanted && !excluded.iter().any(|pattern| pattern.matches(name))
        });
        for family in families.iter_mut() {
            if !reshaped.is_empty() {
                let name = family.descriptor().name().clone();
                let for_it = reshaped.iter().filter(|(pattern, _)| pattern.matches(&name));
                family.reshape(&for_it.map(|(_, change)| change).collect::<Vec<_>>(), at);
            }
            family.view_by(self);
        }
        if renamed.is_empty() {
            return;
        }
        let mut names: HashSet<MetricName> =
            families.iter().map(|family| family.descriptor().name().clone()).collect();
        for family in families.iter_mut() {
            let name = family.descriptor().name();
            let to = renamed.iter().find(|(from, _)| from == name).map(|(_, to)| to);
            // A name that is shown already stays whose it is: a collection has no two metrics of one name.
            if let Some(to) = to.filter(|to| names.insert(MetricName::clone(to))) {
                names.remove(family.descriptor().name());
                family.rename(to.clone());
            }
        }
        families
            .sort_by(|one, other| one.descriptor().name().as_str().cmp(other.descriptor().name().as_str()));
    }
}

impl ViewBuilder {
    /// Shows, of the program's metrics, only those of this name, or of names that begin so (`document.*`). Several add up. The runtime's
    /// own metrics, `mvx.*`, are shown in any case, so that a loss does not go unseen; [`exclude`](Self::exclude) leaves them out.
    pub fn include(mut self, pattern: &str) -> Self {
        let pattern = NamePattern::new(pattern);
        self.take(pattern, |rules, pattern| rules.included.push(pattern));
        self
    }

    /// Leaves out metrics of this name, or of names that begin so (`document.internal.*`), whatever is included.
    pub fn exclude(mut self, pattern: &str) -> Self {
        let pattern = NamePattern::new(pattern);
        self.take(pattern, |rules, pattern| rules.excluded.push(pattern));
        self
    }

    /// Shows a metric under another name. Where a metric of that name is shown already, this one keeps its own.
    pub fn rename(mut self, from: &str, to: &str) -> Self {
        let names = MetricName::new(from).and_then(|from| Ok((from, MetricName::new(to)?)));
        self.take(names, |rules, names| rules.renamed.push(names));
        self
    }

    /// Shows metrics of this name, or of names that begin so, without the label of this key: series that differ in nothing else are added up,
    /// exactly; gauges by their [`GaugeFold`](crate::GaugeFold). Infos, state sets and custom fields cannot be added up, and keep it.
    pub fn drop_label(mut self, metrics: &str, key: &str) -> Self {
        let change = LabelKey::new(key).map(Change::DropLabel);
        self.change(metrics, change);
        self
    }

    /// Shows a label of metrics of this name, or of names that begin so, by another key. A metric that has a label of the new key already, be it
    /// its own, its recorder's or the runtime's, keeps the old one.
    pub fn rename_label(mut self, metrics: &str, from: &str, to: &str) -> Self {
        let keys = LabelKey::new(from).and_then(|from| Ok(Change::RenameLabel(from, LabelKey::new(to)?)));
        self.change(metrics, keys);
        self
    }

    /// Shows histograms of this name, or of names that begin so, with these bounds, which must be among those that they have: then the counts are
    /// exact. A histogram that has not all of them, and every other kind of metric, is shown as it is. To count in other buckets from the
    /// start, see [`RuntimeBuilder::metric_view`](crate::RuntimeBuilder::metric_view).
    pub fn bounds(mut self, metrics: &str, bounds: &[f64]) -> Self {
        let checked = Descriptor::builder("view", Kind::Histogram).bounds(bounds).build();
        self.change(metrics, checked.map(|shape| Change::Bounds(shape.bounds().into())));
        self
    }

    /// Adds a label to every series. A metric, a recorder or a group that has a label of this key keeps its own.
    pub fn label<'a>(mut self, key: &str, value: impl Into<Label<'a>>) -> Self {
        self.labels.push((key.to_owned(), value.into().to_string()));
        self
    }

    /// Leaves the label `entity` away; `recorder` alone tells recorders apart.
    pub fn without_entity(mut self) -> Self {
        self.rules.no_entity = true;
        self
    }

    /// Shows recorders one by one or by group, whatever the exporter asks for.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.rules.fold = Some(fold);
        self
    }

    /// The view.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] for the first pattern, name or label key that no metric can have, for a label given twice, and for a
    /// metric or a name that is in two renames; [`ErrorKind::InvalidLimit`] for more labels than
    /// [`MAX_LABELS`](crate::limits::MAX_LABELS), and for bounds that no histogram can have.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{ErrorKind, View};
    ///
    /// let error = View::builder().include("document saves").build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidName);
    /// assert!(View::builder().exclude("document.*").build().is_ok());
    /// ```
    pub fn build(self) -> Result<View, Error> {
        let Self { mut rules, labels, error } = self;
        if let Some(error) = error {
            return Err(error);
        }
        let (mut from, mut to) = (HashSet::new(), HashSet::new());
        if let Some((twice, _)) =
            rules.renamed.iter().find(|(old, new)| !from.insert(old.clone()) || !to.insert(new.clone()))
        {
            let message = format!("metric {twice}, or its new name, is in two renames; give one of them");
            return Err(Error::new(ErrorKind::InvalidName, message));
        }
        rules.labels = LabelSet::new(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        Ok(View(Arc::new(rules)))
    }

    fn change(&mut self, metrics: &str, change: Result<Change, Error>) {
        let rule = NamePattern::new(metrics).and_then(|pattern| Ok((pattern, change?)));
        self.take(rule, |rules, rule| rules.reshaped.push(rule));
    }

    /// Enters what is right, and keeps the first mistake.
    fn take<T>(&mut self, checked: Result<T, Error>, enter: impl FnOnce(&mut Rules, T)) {
        match checked {
            Ok(value) => enter(&mut self.rules, value),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
    }
}

impl RuntimeSnapshot {
    /// The same snapshot as this view shows it. Copies no values; a view laid over it before has no say any more.
    pub fn with_view(&self, view: &View) -> Self {
        Self { view: Some(view.clone()), ..self.clone() }
    }
}
