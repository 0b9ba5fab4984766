//! Commands that need neither a server nor a cluster, on files.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};

use crate::Mizzen;

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// The standard output.
    pub output: String,
    /// The standard error.
    pub errors: String,
}

/// Runs `mizzen` in a folder, with this on its standard input.
///
/// # Errors
/// When it cannot be run, or is ended by a signal.
pub fn run_offline(dir: &Path, args: &[&str], input: &str) -> Result<Outcome> {
    let mut command = Mizzen::command(args)?;
    command.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("run mizzen")?;
    // What it does not read it need not.
    let _ = child.stdin.take().context("an input")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    Ok(Outcome {
        code: output.status.code().context("mizzen was ended by a signal")?,
        output: String::from_utf8(output.stdout)?,
        errors: String::from_utf8(output.stderr)?,
    })
}

/// A folder of `e2e/fixtures/offline`.
#[must_use]
pub fn offline_fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/offline").join(name)
}

/// Runs a command that finds errors in each of its formats, and compares what it says with `expected.<format>` in the
/// folder.
///
/// # Errors
/// When it cannot be run, or says something else.
pub fn each_format_as_stored(dir: &Path, args: &[&str]) -> Result<()> {
    for format in ["text", "json", "yaml", "sarif"] {
        let outcome = run_offline(dir, &[args, &["-o", format]].concat(), "")?;
        ensure!(outcome.code == 1 && outcome.errors.is_empty(), "{format}: {outcome:?}");
        as_stored(&dir.join(format!("expected.{format}")), &outcome.output)?;
    }
    Ok(())
}

/// Compares a text with that of a file; `MIZZEN_BLESS=1` (`just bless`) writes the file instead.
///
/// # Errors
/// When they differ: the first line that does.
fn as_stored(path: &Path, made: &str) -> Result<()> {
    if env::var_os("MIZZEN_BLESS").is_some_and(|v| v == "1") {
        return Ok(fs::write(path, made)?);
    }
    let stored =
        fs::read_to_string(path).with_context(|| format!("read {} (`just bless` writes it)", path.display()))?;
    let same = stored.lines().zip(made.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    ensure!(
        stored == made,
        "`just bless` accepts changes: {}:{}: stored {:?}, made {:?}",
        path.display(),
        same + 1,
        line(&stored),
        line(made)
    );
    Ok(())
}

/// A mesh of Services, with VirtualServices that lead to them, in 10 namespaces: all is right with it.
#[must_use]
pub fn large_mesh(services: usize, virtual_services: usize) -> String {
    let mut yaml = String::new();
    // Writing into a string does not fail.
    let mut add = |text: std::fmt::Arguments<'_>| {
        let _ = yaml.write_fmt(text);
    };
    for n in 0..services {
        add(format_args!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: s{n}\n  namespace: ns{}\nspec:\n  clusterIP: 10.{}.{}.1\n  \
             selector:\n    app: s{n}\n  ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n---\n",
            n % 10,
            n / 250,
            n % 250
        ));
    }
    add(format_args!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata:\n  name: gw\n  namespace: istio-system\nspec:\n  \
         selector:\n    istio: ingressgateway\n  servers:\n  - port: {{number: 80, name: http, protocol: HTTP}}\n    \
         hosts: ['*']\n---\n"
    ));
    for n in 0..virtual_services {
        let service = n % services.max(1);
        add(format_args!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: v{n}\n  namespace: ns{}\nspec:\n  \
             hosts:\n  - v{n}.example.com\n  gateways:\n  - istio-system/gw\n  http:\n  - match:\n    - uri:\n        \
             prefix: /api\n    route:\n    - destination:\n        host: s{service}\n        port:\n          \
             number: 80\n      weight: 90\n    - destination:\n        host: s{service}\n      weight: 10\n    timeout: 5s\n  \
             - route:\n    - destination:\n        host: s{service}\n---\n",
            service % 10
        ));
    }
    yaml
}
