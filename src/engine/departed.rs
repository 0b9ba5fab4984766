//! What outlives its object: kinds are watched without an order between them, so a Pod may be gone before the slice
//! that names it is changed, and a deleted Secret or ConfigMap keeps serving what it last held (design §1, §2 truth 3).

use super::{
    graph::Db,
    index::PodMentions,
    inputs::{AuthorityMaps, Departed, NamespacedName, Pods, Secrets, Usable},
};

/// Removes departed objects that nothing refers to any more; whether there were any.
pub(super) fn sweep(db: &mut Db) -> bool {
    let mut removed = false;
    for departed in db.input_keys::<Departed>() {
        let key = NamespacedName::of(&departed.0);
        let idle = match departed.0.kind {
            "Pod" => db.is_empty(&PodMentions(key.clone())),
            "ConfigMap" => !db.is_read(&AuthorityMaps(key.clone())),
            _ => !db.is_read(&Secrets(key.clone())),
        };
        if idle {
            match departed.0.kind {
                "Pod" => db.set_input(&Pods(key), None),
                "ConfigMap" => db.set_input(&AuthorityMaps(key), None),
                _ => db.set_input(&Secrets(key), None),
            }
            db.set_input(&Usable(departed.0.clone()), None);
            db.set_input(&departed, None);
            removed = true;
        }
    }
    removed
}
