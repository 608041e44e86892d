//! Jobs out of templates, made once for the whole pool.
//!
//! A job without an extranonce prefix is the same for every channel, since all of them have an extranonce of one size. So
//! one factory makes it, one `Arc` of it serves all connections, and its id names it everywhere. Each channel keeps its
//! own copy for judging shares; each connection's group channel announces it with one message.

use std::sync::Arc;

use channels_sv2::server::jobs::error::JobFactoryError;
use channels_sv2::server::jobs::extended::ExtendedJob;
use channels_sv2::server::jobs::factory::JobFactory;
use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

use super::coinbase::Coinbase;

/// One job, not bound to a channel.
#[derive(Debug)]
pub(crate) struct Job {
    template_id: u64,
    /// As a future job: without the time from which on it may be mined.
    future: ExtendedJob,
}

impl Job {
    /// Names the job on every channel.
    pub(crate) fn id(&self) -> u32 {
        self.future.get_job_id()
    }

    /// As it is announced before the tip that it builds on.
    pub(crate) fn future(&self) -> ExtendedJob {
        self.future.clone()
    }

    /// As it is announced for the tip at hand.
    pub(crate) fn for_tip(&self, tip: &SetNewPrevHashOwned) -> ExtendedJob {
        let mut job = self.future.clone();
        job.activate(tip.header_timestamp);
        job
    }
}

/// What is to be mined now, as jobs. Whole: whoever sees it first needs none before it.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// The block to build on; its `template_id` is that of `current`.
    pub(crate) tip: SetNewPrevHashOwned,
    pub(crate) current: Arc<Job>,
    /// For the tip after this one.
    pub(crate) future: Option<Arc<Job>>,
}

impl Jobs {
    /// Whether shares for `other` are shares for this tip too.
    pub(crate) fn same_tip(&self, other: &Self) -> bool {
        let (a, b) = (&self.tip, &other.tip);
        a.prev_hash == b.prev_hash && a.n_bits == b.n_bits && a.header_timestamp == b.header_timestamp
    }
}

/// Turns work into jobs, and keeps the job of a template as long as it is needed.
#[derive(Debug)]
pub(crate) struct JobMaker {
    factory: JobFactory,
    coinbase: Coinbase,
    extranonce_size: usize,
    last: Option<Arc<Jobs>>,
}

impl JobMaker {
    /// For channels whose whole extranonce has this size in bytes.
    pub(crate) fn new(coinbase: Coinbase, extranonce_size: usize) -> Self {
        Self {
            factory: JobFactory::new(true, Some(coinbase.tag.clone()), None),
            coinbase,
            extranonce_size,
            last: None,
        }
    }

    /// The jobs of the templates `current`, which builds on `tip`, and `future`.
    ///
    /// # Errors
    /// A template that no coinbase can be built for.
    pub(crate) fn next(
        &mut self,
        tip: &SetNewPrevHashOwned,
        current: &NewTemplateOwned,
        future: Option<&NewTemplateOwned>,
    ) -> Result<Arc<Jobs>, JobFactoryError> {
        let jobs = Arc::new(Jobs {
            tip: SetNewPrevHashOwned {
                template_id: current.template_id,
                ..tip.clone()
            },
            current: self.job_of(current)?,
            future: future.map(|template| self.job_of(template)).transpose()?,
        });
        self.last = Some(Arc::clone(&jobs));
        Ok(jobs)
    }

    /// The job of this template, made if it is new.
    fn job_of(&mut self, template: &NewTemplateOwned) -> Result<Arc<Job>, JobFactoryError> {
        let known = self
            .last
            .iter()
            .flat_map(|jobs| jobs.future.iter().chain([&jobs.current]));
        if let Some(job) = known.into_iter().find(|job| job.template_id == template.template_id) {
            return Ok(Arc::clone(job));
        }
        let template = NewTemplateOwned {
            future_template: true,
            ..template.clone()
        };
        let outputs = self.coinbase.outputs(template.coinbase_tx_value_remaining);
        // The ids of channels begin at 1: messages put their own in its place.
        let unbound = 0;
        Ok(Arc::new(Job {
            template_id: template.template_id,
            future: self.factory.new_extended_job(
                unbound,
                None,
                Vec::new(),
                template,
                outputs,
                self.extranonce_size,
            )?,
        }))
    }
}
