//! What is to be mined now.

use std::sync::Arc;

use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};
use tokio::time::Instant;

/// What is to be mined now. Each value is whole: whoever sees it first needs none before it.
///
/// Template ids are the pool's own: they grow over the whole run and name one template for ever, whatever numbers the
/// source gives. `tip.template_id` is that of the future template that the tip made current, which `current` is until the
/// source gives a newer one for the same tip.
#[derive(Clone, Debug)]
pub struct Work {
    /// The block to build on.
    pub tip: SetNewPrevHashOwned,
    /// Builds on `tip`. Its `future_template` says how it came, not what it is: it can be mined.
    pub current: Arc<NewTemplateOwned>,
    /// Builds on whatever comes after `tip`: to be prepared, not yet to be mined.
    pub future: Option<Arc<NewTemplateOwned>>,
    /// When `current` came, or was last confirmed by its source.
    pub since: Instant,
}

impl Work {
    /// The two messages that tell this work to somebody who knows nothing yet, or has missed a step: `current` as a
    /// future template, and the tip that makes it current.
    #[must_use]
    pub fn opening(&self) -> (NewTemplateOwned, SetNewPrevHashOwned) {
        let template = NewTemplateOwned {
            future_template: true,
            ..NewTemplateOwned::clone(&self.current)
        };
        let tip = SetNewPrevHashOwned {
            template_id: template.template_id,
            ..self.tip.clone()
        };
        (template, tip)
    }
}
