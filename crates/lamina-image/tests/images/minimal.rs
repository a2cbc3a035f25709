//! The built-in image.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use goblin::elf::Elf;
use lamina_image::{FindError, HostPaths, MINIMAL, Policy, Silent, Wanted};

use crate::support::{Fixture, client, reference};

#[test]
fn privileged_minimal_is_made_once_and_is_the_same_again() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let name = reference(MINIMAL);
    let wanted = Wanted {
        reference: &name,
        policy: Policy::Missing,
        platform: None,
        host: &HostPaths::default(),
        client: &|| Ok(client()),
        progress: &Silent,
    };
    let never = Wanted {
        policy: Policy::Never,
        ..wanted
    };
    let start = Instant::now();
    let image = images.ensure(&wanted).unwrap();
    eprintln!("minimal was made in {:?}", start.elapsed());
    let start = Instant::now();
    let again = images.ensure(&never).unwrap();
    eprintln!("and found in {:?}", start.elapsed());
    assert_eq!(again.id, image.id);
    assert_eq!(image.config.config.cmd, ["sh"]);
    let other = Fixture::new();
    let id = other
        .images()
        .create_minimal(&name, &HostPaths::default(), &[])
        .unwrap();
    assert_eq!(id, image.id, "the same host gives the same image");
}

#[test]
fn privileged_every_library_that_is_needed_is_in_the_layer() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let name = reference("tools");
    let extra = [PathBuf::from("tar"), PathBuf::from("/etc/shells")];
    let adds: Vec<PathBuf> = extra
        .into_iter()
        .filter(|path| !path.is_absolute() || path.exists())
        .collect();
    images
        .create_minimal(&name, &HostPaths::default(), &adds)
        .unwrap();
    let image = images.find_reference(&name).unwrap();
    let tree = images.layers(&image).unwrap().remove(0).directory.unwrap();
    let mut files = Vec::new();
    collect(&tree, &mut files);
    let has = |library: &str| {
        files
            .iter()
            .any(|file| file.file_name().unwrap() == library)
    };
    let mut checked = 0;
    for file in files
        .iter()
        .filter(|file| file.is_file() && !file.is_symlink())
    {
        let bytes = std::fs::read(file).unwrap();
        let Ok(elf) = Elf::parse(&bytes) else {
            continue;
        };
        checked += 1;
        for library in &elf.libraries {
            assert!(has(library), "{} needs {library}", file.display());
        }
        if let Some(interpreter) = elf.interpreter {
            assert!(has(interpreter.rsplit('/').next().unwrap()));
        }
    }
    assert!(checked > 10, "only {checked} ELF files");
    for path in adds.iter().filter(|path| path.is_absolute()) {
        assert!(tree.join(path.strip_prefix("/").unwrap()).exists());
    }
    File::open(tree.join("etc/passwd")).unwrap();
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn privileged_another_image_is_not_made_up() {
    let fixture = Fixture::new();
    let wanted = Wanted {
        reference: &reference("other"),
        policy: Policy::Never,
        platform: None,
        host: &HostPaths::default(),
        client: &|| unreachable!("the registry must not be asked"),
        progress: &Silent,
    };
    let error = fixture.images().ensure(&wanted).unwrap_err();
    assert!(
        matches!(
            &error,
            lamina_image::EnsureError::Find(FindError::NotFound(_))
        ),
        "{error}"
    );
}
