//! Clients that come back, to the same control plane, to one that was restarted and to another replica: resources that no
//! Envoy of the tests asks for.

use super::*;

const TYPES: [ResourceType; 2] = [ResourceType::ExtensionConfig, ResourceType::NameTable];

impl Delta {
    /// Comes back with what a client has: names and versions.
    async fn resume(&self, t: ResourceType, has: &[(String, String)]) {
        let names = has.iter().filter(|_| !t.is_wildcard()).map(|(name, _)| name.clone());
        let request = DeltaDiscoveryRequest {
            node: Some(testing::node("shop", "web")),
            type_url: t.type_url().to_owned(),
            resource_names_subscribe: names.collect(),
            initial_resource_versions: has.iter().cloned().collect(),
            ..Default::default()
        };
        self.send(request).await;
    }
}

/// Three resources of a type in these versions, of which 0 is none.
fn content(t: ResourceType, versions: [u8; 3]) -> String {
    let named = ["a", "b", "c"].into_iter().zip(versions).filter(|(_, version)| *version > 0);
    named.map(|(name, version)| format!("{} {name}@{version}", t.short_name())).collect::<Vec<_>>().join(" | ")
}

/// What a client has that asks for all of them.
async fn first(rig: &Rig, t: ResourceType) -> Vec<(String, String)> {
    let mut client = rig.delta().await;
    client.subscribe(t, if t.is_wildcard() { &[] } else { &["a", "b", "c"] }).await;
    let response = client.next().await;
    client.answer(&response, None).await;
    response.resources.into_iter().map(|r| (r.name, r.version)).collect()
}

#[tokio::test]
async fn who_comes_back_to_what_it_has_is_sent_nothing() {
    for t in TYPES {
        let rig = Rig::start(&content(t, [1, 1, 1])).await;
        let has = first(&rig, t).await;
        assert_eq!(has.len(), 3);
        let sent = || rig.shared.clients.counters.resources[t].get();
        assert_eq!(sent(), 3);
        // The same one, twice: the second time it is known again; one that was restarted; and another replica.
        let (restarted, replica) = (Rig::start(&content(t, [1, 1, 1])).await, Rig::start(&content(t, [1, 1, 1])).await);
        for place in [&rig, &rig, &restarted, &replica] {
            let before = place.shared.clients.counters.resources[t].get();
            place.publish(&content(t, [1, 1, 1]));
            let mut client = place.delta().await;
            client.resume(t, &has).await;
            until("it is there", || place.shared.clients.list().iter().any(|c| c.machine().subscription(t).is_some()))
                .await;
            // The proof that nothing else is on its way.
            place.publish(&content(t, [1, 2, 1]));
            assert_eq!(client.take().await, "b@2", "{t:?}");
            assert_eq!(place.shared.clients.counters.resources[t].get(), before + 1, "{t:?}");
            drop(client);
            until("it is gone", || place.shared.clients.is_empty()).await;
        }
    }
}

#[tokio::test]
async fn who_comes_back_to_changes_is_sent_them_and_nothing_else() {
    for t in TYPES {
        let rig = Rig::start(&content(t, [1, 1, 1])).await;
        let has = first(&rig, t).await;
        for place in [&rig, &Rig::start("").await] {
            place.publish(&content(t, [1, 2, 0]));
            let mut client = place.delta().await;
            client.resume(t, &has).await;
            // An extension keeps its last configuration; a table of names goes.
            let removal = if t == ResourceType::NameTable { " -c" } else { "" };
            assert_eq!(client.take().await, format!("b@2{removal}"), "{t:?}");
            place.publish(&content(t, [3, 2, 0]));
            assert_eq!(client.take().await, "a@3", "{t:?}");
        }
    }
}
