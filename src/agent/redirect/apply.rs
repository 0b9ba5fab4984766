//! The programs that ask and tell the kernel.

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use super::{Family, Installed, Mode, Redirection, Rules, plan, removal};
use crate::agent::chain;

/// How long, in seconds, another program may hold the lock of the tables.
const LOCK_WAIT: &str = "30";

/// The marks of `ip rule` of the mode TPROXY lead here.
const LOCAL_ROUTE: [&str; 4] = ["local", "default", "dev", "lo"];

/// Why rules are not in place.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// A program is missing.
    #[error("cannot run {program}: {hint}")]
    Start {
        /// Which.
        program: String,
        /// How to get it.
        hint: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program refused.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// Which.
        program: String,
        /// Its exit code.
        status: std::process::ExitStatus,
        /// What it wrote to standard error.
        said: String,
    },
    /// None of the variants of iptables works.
    #[error("none of {tried} can read this kernel's tables; the last one said: {said}")]
    NoTables {
        /// Their names.
        tried: String,
        /// Why.
        said: String,
    },
    /// What is installed is not what is wanted.
    #[error("the redirection of {0:?} is not in place: traffic of this pod would not go through the proxy")]
    NotInPlace(Family),
}

/// The kernel's tables of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// `nft` or `legacy`; otherwise what works.
    pub variant: Option<String>,
    /// A file of a network namespace, instead of this process's own.
    pub namespace: Option<PathBuf>,
}

impl Kernel {
    /// Makes the rules those of a redirection.
    ///
    /// # Errors
    /// A program is missing or refuses.
    pub fn install(&self, redirection: &Redirection, families: &[Family]) -> Result<(), RedirectError> {
        for family in families {
            let rules = Rules::new(redirection, *family);
            let (tables, installed) = self.tables(*family)?;
            match plan(&installed, &rules) {
                Some(text) => {
                    tracing::info!("{family:?}: {}-restore is given\n{text}", tables.0);
                    tables.restore(self, &text)?;
                }
                None => tracing::info!("{family:?}: the rules are in place already"),
            }
            if redirection.mode == Mode::Tproxy {
                self.route(redirection, *family)?;
            }
        }
        Ok(())
    }

    /// Removes all that a redirection may have installed. Families that this kernel does not know have nothing.
    ///
    /// # Errors
    /// A program is missing or refuses.
    pub fn remove(&self, redirection: &Redirection) -> Result<(), RedirectError> {
        for family in [Family::V4, Family::V6] {
            let Ok((tables, installed)) = self.tables(family) else { continue };
            if let Some(text) = removal(&installed, &Rules::new(redirection, family)) {
                tracing::info!("{family:?}: {}-restore is given\n{text}", tables.0);
                tables.restore(self, &text)?;
            }
            if redirection.mode == Mode::Tproxy {
                self.unroute(redirection, family);
            }
        }
        Ok(())
    }

    /// Checks that the rules are those of a redirection.
    ///
    /// # Errors
    /// They are not, or cannot be read.
    pub fn check(&self, redirection: &Redirection, families: &[Family]) -> Result<(), RedirectError> {
        for family in families {
            let (_, installed) = self.tables(*family)?;
            if plan(&installed, &Rules::new(redirection, *family)).is_some() {
                return Err(RedirectError::NotInPlace(*family));
            }
        }
        Ok(())
    }

    /// The first variant that can read the tables, and what they hold.
    fn tables(&self, family: Family) -> Result<(Tables, Installed), RedirectError> {
        let name = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let variants = match self.variant.as_deref() {
            Some(variant) => vec![format!("{name}-{variant}")],
            None => vec![name.to_owned(), format!("{name}-nft"), format!("{name}-legacy")],
        };
        let mut said = String::new();
        for variant in &variants {
            match self.run(&format!("{variant}-save"), &[] as &[&str], None) {
                Ok(output) => {
                    let installed = Installed::parse(&String::from_utf8_lossy(&output.stdout));
                    return Ok((Tables(variant.clone()), installed));
                }
                Err(error) => said = chain(&error),
            }
        }
        Err(RedirectError::NoTables { tried: variants.join(", "), said })
    }

    /// Marked packets are this machine's own, whatever their destination.
    fn route(&self, redirection: &Redirection, family: Family) -> Result<(), RedirectError> {
        let (mark, table) = (redirection.mark.to_string(), redirection.route_table.to_string());
        let rule = ["fwmark", &*mark, "table", &*table];
        let found = self.ip(family, &[&["rule", "list"], &rule[..]].concat())?;
        if found.stdout.is_empty() {
            self.ip(family, &[&["rule", "add"], &rule[..]].concat())?;
        }
        self.ip(family, &[&["route", "replace"], &LOCAL_ROUTE[..], &["table", &*table]].concat())?;
        Ok(())
    }

    /// As far as it is there.
    fn unroute(&self, redirection: &Redirection, family: Family) {
        let (mark, table) = (redirection.mark.to_string(), redirection.route_table.to_string());
        for removed in [
            self.ip(family, &["rule", "del", "fwmark", &mark, "table", &table]),
            self.ip(family, &["route", "flush", "table", &table]),
        ] {
            if let Err(error) = removed {
                tracing::debug!("{}", chain(&error));
            }
        }
    }

    fn ip(&self, family: Family, args: &[&str]) -> Result<Output, RedirectError> {
        let flag = match family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        };
        self.run("ip", &[&[flag], args].concat(), None)
    }

    fn run<S: AsRef<OsStr>>(&self, program: &str, args: &[S], input: Option<&str>) -> Result<Output, RedirectError> {
        let failed = |source| RedirectError::Start {
            program: program.to_owned(),
            hint: "the packages iptables and iproute2 have what is needed",
            source,
        };
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.display())).arg(program);
                command
            }
        };
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // One that does not read to the end says why by its exit code.
            if let Err(error) = stdin.write_all(input.as_bytes()) {
                tracing::debug!(%error, program, "did not read its input");
            }
        }
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(RedirectError::Failed { program: program.to_owned(), status: output.status, said })
    }
}

/// A variant of iptables that works here.
struct Tables(String);

impl Tables {
    fn restore(&self, kernel: &Kernel, text: &str) -> Result<(), RedirectError> {
        // Other programs' rules stay.
        kernel.run(&format!("{}-restore", self.0), &["--noflush", "--wait", LOCK_WAIT], Some(text)).map(drop)
    }
}
