//! Files of an operator.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::ca::testing::{DAY, Pair, noon};

struct Rig {
    dir: TempDir,
    files: Option<(PluggedIn, Current)>,
}

impl Rig {
    fn new(files: &[(&str, &str)]) -> Result<Self, FilesError> {
        let dir = tempfile::tempdir().expect("a folder");
        write(&dir, files);
        let files = PluggedIn::open(dir.path(), noon())?;
        Ok(Self { dir, files })
    }

    /// What follows when files are replaced.
    fn replaced(&self, files: &[(&str, &str)]) -> Result<Current, FilesError> {
        write(&self.dir, files);
        let (plugged_in, current) = self.files.as_ref().expect("files");
        let contents = read(self.dir.path())?.expect("files");
        plugged_in.accept(&contents, Some(current), noon())
    }
}

fn write(dir: &TempDir, files: &[(&str, &str)]) {
    files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).expect("written"));
}

fn four<'a>(own: &'a Pair, key: &'a str, chain: &'a str, roots: &'a str) -> [(&'static str, &'a str); 4] {
    [("ca-cert.pem", &own.pem), ("ca-key.pem", key), ("cert-chain.pem", chain), ("root-cert.pem", roots)]
}

#[test]
fn files_of_both_forms_are_an_authority() {
    let root = Pair::new("root", None, DAY);
    let own = Pair::new("own", Some(&root), DAY);
    let key = own.key_pem();
    let istio = Rig::new(&four(&own, &key, &own.pem, &root.pem)).expect("readable").files.expect("files").1;
    assert_eq!(istio.signer.intermediates().len(), 1);
    let tls = [("tls.crt", own.pem.as_str()), ("tls.key", &key), ("ca.crt", &root.pem)];
    let tls = Rig::new(&tls).expect("readable").files.expect("files").1;
    assert_eq!(tls.signer.intermediates(), istio.signer.intermediates());
}

#[test]
fn no_files_are_no_authority_and_a_part_of_them_is_an_error() {
    assert!(Rig::new(&[]).expect("nothing").files.is_none());
    let root = Pair::new("root", None, DAY);
    let key = root.key_pem();
    let all = four(&root, &key, "", &root.pem);
    let generated = [all.as_slice(), &[("istio-generated", "")]].concat();
    assert!(Rig::new(&generated).expect("our own").files.is_none());
    for missing in 0..4 {
        let some: Vec<_> = all.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, f)| *f).collect();
        let error = Rig::new(&some).err().expect("refused").to_string();
        assert!(error.contains(&format!("{} is missing", all[missing].0)), "{error}");
    }
}

#[test]
fn roots_change_only_step_by_step() {
    let (old, new) = (Pair::new("old", None, DAY), Pair::new("new", None, DAY));
    let (old_key, new_key) = (old.key_pem(), new.key_pem());
    let both = [old.pem.as_str(), &new.pem].concat();
    let start = || Rig::new(&four(&old, &old_key, "", &old.pem)).expect("readable");
    let swapped = start().replaced(&four(&new, &new_key, "", &new.pem)).expect_err("refused").to_string();
    assert!(swapped.contains("neither contain the old ones nor are among them"), "{swapped}");
    let mut rig = start();
    for (own, key, roots) in [(&old, &old_key, &both), (&new, &new_key, &both), (&new, &new_key, &new.pem)] {
        let current = rig.replaced(&four(own, key, "", roots)).expect("taken");
        assert_eq!(current.signer.certificate().pem().replace('\r', ""), own.pem.replace('\r', ""));
        rig.files.as_mut().expect("files").1 = current;
    }
}

#[test]
fn a_revocation_list_goes_along_and_a_broken_one_does_not() {
    let root = Pair::new("root", None, DAY);
    let key = root.key_pem();
    let with = |crl: &str| {
        let files = [four(&root, &key, "", &root.pem).as_slice(), &[("ca-crl.pem", crl)]].concat();
        Rig::new(&files).expect("readable").files.expect("files").1.crl
    };
    let list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert_eq!(with(list).as_deref(), Some(list));
    assert_eq!(with("nothing"), None);
}
