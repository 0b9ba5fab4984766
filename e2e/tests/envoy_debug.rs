//! What the debug pages of a running control plane tell while a real Envoy is connected.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Authority, Client, PATIENCE, Request, Scene, Signal, Upstream, eventually, free_port, gateway, route_all, service,
};
use serde_json::{Value, json};

const PROXY: &str = "gw.default";
const A: &str = "a.default.svc.cluster.local";

/// A gateway with an HTTP and an HTTPS port, which sends `v.test` to service `a`.
async fn start(a: &Upstream) -> Result<Scene> {
    let pair = Authority::new("servers")?.issue(&["v.test"])?;
    let data = json!({"tls.crt": pair.cert, "tls.key": pair.key});
    let metadata = json!({"name": "cert", "namespace": "default"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
    let server = format!(
        "  - {{port: {{number: {}, name: https, protocol: HTTPS}}, hosts: ['*'], \
         tls: {{mode: SIMPLE, credentialName: cert}}}}\n",
        free_port()?
    );
    let objects = format!("---\n{secret}\n") + &gateway("tls", &server) + &service("a", "http", &[a]);
    let scene = Scene::start(&(objects + &route_all("v", "v.test", "a"))).await?;
    scene.answered_by("a", &Request::get("/").host("v.test")).await?;
    Ok(scene)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Of each type of `syncz`: what was sent, and what was acknowledged.
async fn nonces(scene: &Scene) -> Result<BTreeMap<&'static str, (String, String)>> {
    let page = scene.mizzen.json("/debug/syncz").await?;
    let [proxy] = items(&page) else { anyhow::bail!("not one proxy: {page}") };
    ensure!(proxy["proxy"] == PROXY && proxy["proxy_type"] == "router", "{proxy}");
    ensure!(proxy["cluster_id"] == "Kubernetes" && proxy["istio_version"] == "1.32.0", "{proxy}");
    let nonce = |t: &str, end: &str| proxy[format!("{t}_{end}")].as_str().unwrap_or_default().to_owned();
    let types = ["cluster", "listener", "route", "endpoint"];
    Ok(types.into_iter().map(|t| (t, (nonce(t, "sent"), nonce(t, "acked")))).collect())
}

/// Waits until all that was sent is acknowledged, and returns the nonces.
async fn synced(scene: &Scene) -> Result<BTreeMap<&'static str, String>> {
    eventually("all types to be acknowledged", PATIENCE, || async {
        let nonces = nonces(scene).await?;
        ensure!(nonces.values().all(|(sent, acked)| !sent.is_empty() && sent == acked), "{nonces:?}");
        Ok(nonces.into_iter().map(|(t, (sent, _))| (t, sent)).collect())
    })
    .await
}

#[tokio::test]
async fn syncz_tells_what_the_proxy_has_acknowledged() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let mut scene = start(&a).await?;
    let before = synced(&scene).await?;
    let page = eventually("every type to be acknowledged", PATIENCE, || async {
        let page = scene.mizzen.json("/debug/syncz").await?;
        let resources = page[0]["resources"].as_object().context("no resources")?;
        let types: BTreeSet<_> = resources.keys().filter_map(|url| url.rsplit('.').next()).collect();
        let all = BTreeSet::from(["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "Secret"]);
        ensure!(types == all, "{types:?}");
        for (url, state) in resources {
            ensure!(state["sent"] == state["acked"] && state["sent"] != "", "{url} {state}");
            ensure!(state["lastError"] == "" && state["sentTime"] != "", "{url} {state}");
        }
        Ok(page)
    })
    .await?;
    let own = scene.mizzen.json("/debug/syncz?namespace=default").await?;
    assert_eq!((items(&own).len(), &own[0]["proxy"]), (1, &page[0]["proxy"]));
    assert_eq!(scene.mizzen.json("/debug/syncz?namespace=other").await?, json!([]));

    // A proxy that does not answer is behind in what changed, and in nothing else.
    scene.envoy.signal(Signal::Stop)?;
    let slice =
        service("a", "http", &[&b]).split_inclusive("---\n").last().unwrap_or_default().replace("a-0", "a-more");
    scene.config.write("more.yaml", slice)?;
    let behind = eventually("new endpoints to be sent", PATIENCE, || async {
        let nonces = nonces(&scene).await?;
        ensure!(nonces["endpoint"].0 != before["endpoint"], "{nonces:?}");
        Ok(nonces)
    })
    .await?;
    for (t, (sent, acked)) in &behind {
        assert_eq!((acked, sent == acked), (&before[t], *t != "endpoint"), "{t}");
    }
    scene.envoy.signal(Signal::Cont)?;
    let after = synced(&scene).await?;
    assert_eq!(after["endpoint"], behind["endpoint"].0);
    Ok(())
}

#[tokio::test]
async fn adsz_tells_who_is_connected_and_what_it_asks_for() -> Result<()> {
    let a = Upstream::http("a").await?;
    let scene = start(&a).await?;
    synced(&scene).await?;
    let page = scene.mizzen.json("/debug/adsz").await?;
    assert_eq!(scene.mizzen.json("/debug/connections").await?, page);
    assert_eq!(page["totalClients"], 1, "{page}");
    let client = &page["clients"][0];
    let id = client["connectionId"].as_str().context("no id")?;
    assert!(id.starts_with(&format!("{PROXY}-")), "{id}");
    assert!(client["address"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")), "{client}");
    assert!(client["connectedAt"].as_str().is_some_and(|t| t.ends_with('Z')), "{client}");
    assert_eq!(client["labels"], json!({"istio": "ingressgateway"}));
    assert_eq!(client["metadata"]["NAMESPACE"], "default");
    let watches = client["watches"].as_object().context("no watches")?;
    let of = |name: &str| watches.iter().find(|(url, _)| url.ends_with(name)).map(|(_, w)| w);
    assert_eq!(of(".Cluster").context("clusters")?["wildcard"], true);
    assert_eq!(of(".Listener").context("listeners")?["wildcard"], true);
    let endpoints = of(".ClusterLoadAssignment").context("endpoints")?;
    assert_eq!(*endpoints, json!({"names": 1, "wildcard": false}));
    assert_eq!(*of(".Secret").context("secrets")?, json!({"names": 1, "wildcard": false}));
    Ok(())
}

/// What is in a dump, by section and name: version and content.
type Held = BTreeMap<(String, String), (Value, Value)>;

/// The dynamic resources of a dump of Envoy's form, without what Envoy adds of its own.
fn held(dump: &Value) -> Held {
    let mut all = Held::new();
    for section in items(&dump["configs"]) {
        for (list, inner, body) in [
            ("dynamic_active_clusters", None, "cluster"),
            ("dynamic_listeners", Some("active_state"), "listener"),
            ("dynamic_route_configs", None, "route_config"),
            ("dynamic_active_secrets", None, "secret"),
        ] {
            for entry in items(&section[list]) {
                let state = inner.map_or(entry, |inner| &entry[inner]);
                let name = entry["name"].as_str().or(state[body]["name"].as_str()).unwrap_or("?").to_owned();
                all.insert((list.to_owned(), name), (state["version_info"].clone(), state[body].clone()));
            }
        }
    }
    all
}

/// Address and port of each endpoint of a dump, by cluster.
fn endpoints(dump: &Value, list: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in items(&dump["configs"]).iter().flat_map(|section| items(&section[list])) {
        let made = &entry["endpoint_config"];
        let name = made["cluster_name"].as_str().unwrap_or_default();
        let hosts = items(&made["endpoints"]).iter().flat_map(|locality| items(&locality["lb_endpoints"]));
        let address = |host: &Value| {
            let socket = &host["endpoint"]["address"]["socket_address"];
            format!("{}:{}", socket["address"].as_str().unwrap_or("?"), socket["port_value"])
        };
        all.entry(name.to_owned()).or_default().extend(hosts.map(address));
    }
    all.retain(|name, _| name.starts_with("outbound|"));
    all
}

#[tokio::test]
async fn config_dump_is_what_envoy_has() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let scene = start(&a).await?;
    scene.config.write("b.yaml", service("b", "http", &[&a, &b]) + &route_all("w", "w.test", "b"))?;
    scene.answered_by("b", &Request::get("/").host("w.test")).await?;
    synced(&scene).await?;
    let page = format!("/debug/config_dump?proxyID={PROXY}");
    let (ours, envoys) = (scene.mizzen.json(&page).await?, scene.envoy.admin().config_dump().await?);
    let (ours, mut envoys) = (held(&ours), held(&envoys));
    // What its agent gave it.
    envoys.retain(|(kind, name), _| kind != "dynamic_active_secrets" || name.contains("://"));
    assert!(ours.len() >= 7, "{:?}", ours.keys());
    assert_eq!(ours.keys().collect::<Vec<_>>(), envoys.keys().collect::<Vec<_>>());
    for (name, (version, content)) in &ours {
        assert_eq!((version, content), (&envoys[name].0, &envoys[name].1), "{name:?}");
    }

    let with_endpoints = scene.mizzen.json(&format!("{page}&include_eds=true")).await?;
    let envoys = scene.envoy.admin().config_dump().await?;
    let found = endpoints(&with_endpoints, "dynamic_endpoint_configs");
    assert_eq!(found.get(&format!("outbound|80||{A}")), Some(&BTreeSet::from([a.address().to_string()])));
    assert_eq!(found, endpoints(&envoys, "dynamic_endpoint_configs"));

    let clusters = held(&scene.mizzen.json(&format!("{page}&types=cds")).await?);
    assert!(clusters.keys().all(|(list, _)| list == "dynamic_active_clusters") && clusters.len() >= 2, "{clusters:?}");
    let nobody = scene.mizzen.get("/debug/config_dump?proxyID=nobody").await?;
    assert_eq!(nobody.status, 404);
    assert_eq!(scene.mizzen.get("/debug/config_dump").await?.status, 400);
    Ok(())
}

/// The entry of a page whose fields have these values.
fn find<'a>(page: &'a Value, fields: &Value) -> Result<&'a Value> {
    let wanted = fields.as_object().context("fields")?;
    let fits = |entry: &&Value| wanted.iter().all(|(key, value)| entry[key] == *value);
    items(page).iter().find(fits).with_context(|| format!("no {fields} in {page}"))
}

#[tokio::test]
async fn configz_registryz_and_endpointz_tell_what_was_read() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let scene = start(&a).await?;
    let configz = scene.mizzen.json("/debug/configz").await?;
    for (kind, name) in [("Gateway", "gateway"), ("Gateway", "tls"), ("VirtualService", "v")] {
        let entry = find(&configz, &json!({"kind": kind, "namespace": "default", "name": name}))?;
        assert_eq!(entry["problems"], json!([]), "{entry}");
    }

    let registryz = scene.mizzen.json("/debug/registryz").await?;
    let entry = find(&registryz, &json!({"hostname": A}))?;
    assert_eq!(entry["namespace"], "default");
    let ports = items(&entry["ports"]);
    assert!(ports.len() == 1 && ports[0]["name"] == "http" && ports[0]["port"] == 80, "{entry}");
    let address = items(&entry["addresses"]).first().and_then(Value::as_str).context("no address")?;
    assert!(address.starts_with("10.96."), "{entry}");

    let slice = json!({"namespace": "default", "service": "a", "slice": "a-0"});
    let endpointz = scene.mizzen.json("/debug/endpointz").await?;
    let entry = find(&endpointz, &slice)?;
    assert_eq!(entry["ports"][0]["port"], a.port(), "{entry}");
    assert_eq!(entry["endpoints"][0]["addresses"], json!(["127.0.0.1"]), "{entry}");
    assert_eq!(entry["endpoints"][0]["ready"], true, "{entry}");

    // They follow what changes.
    scene.config.write("b.yaml", service("b", "http", &[&b]) + &route_all("w", "w.test", "b"))?;
    scene.answered_by("b", &Request::get("/").host("w.test")).await?;
    let pages = async || {
        let mut all = Vec::new();
        for page in ["configz", "registryz", "endpointz"] {
            all.push(scene.mizzen.json(&format!("/debug/{page}")).await?);
        }
        anyhow::Ok(all)
    };
    let wanted = [
        json!({"kind": "VirtualService", "name": "w"}),
        json!({"hostname": A.replacen('a', "b", 1)}),
        json!({"service": "b", "slice": "b-0"}),
    ];
    for (page, fields) in pages().await?.iter().zip(&wanted) {
        find(page, fields)?;
    }
    scene.config.remove("b.yaml")?;
    eventually("what is gone to be gone", PATIENCE, || async {
        for (page, fields) in pages().await?.iter().zip(&wanted) {
            ensure!(find(page, fields).is_err(), "{fields} is there");
        }
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn the_list_names_every_page() -> Result<()> {
    let a = Upstream::http("a").await?;
    let scene = start(&a).await?;
    let list = scene.mizzen.json("/debug/list").await?;
    let names: Vec<_> = items(&list).iter().filter_map(Value::as_str).collect();
    for name in ["adsz", "config_dump", "configz", "endpointz", "registryz", "syncz"] {
        assert!(names.contains(&name), "{list}");
    }
    let index = scene.mizzen.get("/debug").await?;
    let monitoring = Client::http(scene.mizzen.monitoring());
    for name in names {
        let path = format!("/debug/{name}?proxyID={PROXY}");
        for reply in [scene.mizzen.get(&path).await?, monitoring.send(&Request::get(&path)).await?] {
            assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{name}");
        }
        assert!(index.text().contains(&format!("href=\"/debug/{name}\"")), "{}", index.text());
    }
    assert_eq!(scene.mizzen.get("/debug/nothing").await?.status, 404);
    Ok(())
}
