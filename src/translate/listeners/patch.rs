//! EnvoyFilters on listeners (translation §9.1).

use envoy_types::pb::envoy::config::listener::v3::FilterChain;

use super::{Chain, ListenerOutput};
use crate::{
    model::envoy_filter::PatchContext,
    translate::filters::envoy_filter::{ListenerFacts, PatchSet, patch_filter_chain, patches_of},
};

impl ListenerOutput {
    /// Applies the patches of a context to every chain. Chains that no patch touches keep their encoding.
    pub fn patch(&mut self, set: &PatchSet, context: PatchContext, port: Option<u16>) {
        if set.is_empty() {
            return;
        }
        let facts = ListenerFacts { context, name: &self.name, port: port.map(u32::from) };
        let messages = self.chains.iter().map(|chain| &*chain.message).chain(&self.header.default_filter_chain);
        self.patched_by = messages.flat_map(|message| patches_of(set, facts, message)).cloned().collect();
        for chain in &mut self.chains {
            let mut message = FilterChain::clone(&chain.message);
            self.problems.extend(patch_filter_chain(set, facts, &mut message));
            if message != *chain.message {
                *chain = Chain::new(message, chain.refs.clone(), chain.origin.clone());
            }
        }
        if let Some(default) = &mut self.header.default_filter_chain {
            self.problems.extend(patch_filter_chain(set, facts, default));
        }
    }
}
