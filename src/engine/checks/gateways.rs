//! Secrets of Gateways that no namespace has.

use super::Checked;
use crate::{
    engine::{
        credentials::state_anywhere,
        graph::{Cx, Db, Emission, Emit},
        inputs::Gateways,
        stage,
    },
    model::{Code, Problem, Server},
    translate::listeners::tls_context,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CheckGateway(Gateways);

type Check<'a> = Cx<'a, Emission<CheckGateway>>;

impl Emit for CheckGateway {
    type Into = Checked;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Check<'_>) -> Vec<(Checked, ())> {
        if let Some(gateway) = cx.input(&self.0) {
            for server in &gateway.servers {
                if let Some((field, reason)) = lacking(cx, server) {
                    let field = format!("spec.servers[{}].{field}", server.index);
                    cx.problem(Problem {
                        object: gateway.object.clone(),
                        field,
                        reason,
                        code: Code::CredentialUnknown,
                    });
                }
            }
        }
        Vec::new()
    }
}

/// The first secret of a server that no gateway could be sent, wherever it runs: a proxy tells of the first as well.
fn lacking(cx: &mut Check<'_>, server: &Server) -> Option<(String, String)> {
    let needs = tls_context::secrets(server.tls.as_ref()?);
    needs.into_iter().find_map(|need| {
        let reason = need.lacking(state_anywhere(cx, &need.resource))?;
        Some((format!("tls.{}", need.field), reason))
    })
}

/// Registers the check.
pub(super) fn register(db: &mut Db) {
    db.emit_for_input::<Gateways, CheckGateway>(|key| CheckGateway(key.clone()));
}
