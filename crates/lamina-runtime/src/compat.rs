//! Older kernels: each operation with its newest form first, the older one where the kernel says
//! it does not know the first. Probed by doing, never by version.

use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_types::{Rootfs, Source};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, open_tree,
    unmount,
};

use crate::init::report::{Failure, Step, describe};

/// Mounts a new instance of a filesystem, detached.
///
/// The failure carries what the kernel wrote about it, where it wrote anything.
pub(crate) fn new_filesystem(
    kind: &str,
    parameters: &[(&str, Option<&str>)],
    attributes: u64,
) -> Result<OwnedFd, Failure> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .step(|| format!("open the filesystem type {kind}"))?;
    let build = || -> Result<OwnedFd, Errno> {
        for (key, value) in parameters {
            match value {
                Some(value) => fsconfig_set_string(&context, *key, *value)?,
                None => fsconfig_set_flag(&context, *key)?,
            }
        }
        fsconfig_create(&context)?;
        detached(&context, attributes)
    };
    build().map_err(|errno| explained(&format!("mount {kind}"), &context, errno))
}

fn detached(context: &OwnedFd, attributes: u64) -> Result<OwnedFd, Errno> {
    // The constants are the kernel's; rustix's type lacks the newest of them.
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(0));
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Adds the kernel's log of a filesystem context to a failure.
fn explained(act: &str, context: &OwnedFd, errno: Errno) -> Failure {
    with_log(act, &log(context), errno)
}

fn with_log(act: &str, text: &str, errno: Errno) -> Failure {
    if text.is_empty() {
        return Failure::new(act, errno);
    }
    let mut failure = Failure::new(&format!("{act}: {}", describe(errno)), errno);
    failure.message = format!("{act}: {}{text}", describe(errno));
    failure
}

/// Reads what the kernel wrote about a filesystem context, each message after `; `.
fn log(context: &OwnedFd) -> String {
    let mut text = String::new();
    let mut line = [0_u8; 1024];
    while let Ok(read) = rustix::io::read(context, &mut line) {
        if read == 0 || text.len() > 2048 {
            break;
        }
        // Each message is "e text", "w text" or "i text".
        let message = String::from_utf8_lossy(&line[..read]);
        let message = message.trim_end();
        let _ = write!(text, "; {}", message.get(2..).unwrap_or(message));
    }
    text
}

const MOUNT: &str = "mount overlay";

/// Mounts an overlay, detached; `spare` is a directory an old kernel can mount on meanwhile.
///
/// Linux 6.8 takes one layer per parameter, of any number and with any character in it; before,
/// all of them must fit one page of options, separated by colons.
///
/// A volatile upper directory that has been mounted before is mounted once more: by an init that
/// was given up for another, because something was mounted on the host meanwhile.
pub(crate) fn overlay(rootfs: &Rootfs, spare: &Path) -> Result<OwnedFd, Failure> {
    match attempt(rootfs, spare) {
        Err(_) if forgotten(rootfs) => attempt(rootfs, spare),
        other => other,
    }
}

/// Takes away the mark by which the kernel refuses a volatile overlay that was mounted before;
/// returns whether there was one.
fn forgotten(rootfs: &Rootfs) -> bool {
    match rootfs {
        Rootfs::Overlay {
            work: Some(work),
            options,
            ..
        } if options.iter().any(|option| option == "volatile") => {
            // A directory with one file (fs/overlayfs/super.c, ovl_create_volatile_dirty).
            let mark = work.join("work/incompat/volatile");
            let _ = rustix::fs::unlinkat(CWD, mark.join("dirty"), AtFlags::empty());
            rustix::fs::unlinkat(CWD, mark, AtFlags::REMOVEDIR).is_ok()
        }
        _ => false,
    }
}

fn attempt(rootfs: &Rootfs, spare: &Path) -> Result<OwnedFd, Failure> {
    let Rootfs::Overlay {
        lowers,
        data,
        upper,
        work,
        options,
    } = rootfs
    else {
        return Err(Failure::invalid(
            "the root filesystem is no overlay".to_owned(),
        ));
    };
    let layers = Layers {
        lowers: lowers.iter().map(layer).collect::<Result<_, _>>()?,
        data: data.as_deref(),
        upper: upper.as_deref(),
        work: work.as_deref(),
        options,
    };
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .step(|| "open the filesystem type overlay".to_owned())?;
    match layers.first_appended(&context) {
        Ok(()) => {}
        Err(Errno::INVAL) => return layers.by_page(spare),
        Err(errno) => return Err(explained(MOUNT, &context, errno)),
    }
    layers.by_parameters(&context).or_else(|errno| {
        let text = log(&context);
        // Up to 6.4 any option is taken at first, and refused here with no word about why.
        if errno == Errno::INVAL && text.is_empty() {
            return layers.by_page(spare);
        }
        Err(with_log(MOUNT, &text, errno))
    })
}

/// One lower layer: a path, or a mount held by a descriptor.
enum Layer {
    Path(PathBuf),
    Mount(OwnedFd),
}

impl Layer {
    /// Returns a name the kernel resolves to it in this process.
    fn name(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Mount(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()).into(),
        }
    }
}

fn layer(source: &Source) -> Result<Layer, Failure> {
    match source {
        Source::Dir(path) => Ok(Layer::Path(path.clone())),
        Source::Erofs { file } => {
            let mounted = lamina_sys::erofs::mount(file);
            let mounted = mounted.map_err(|error| {
                let act = format!("{} {}", error.act, file.display());
                let text = match error.message.as_str() {
                    "" => String::new(),
                    message => format!("; {message}"),
                };
                with_log(&act, &text, error.source)
            })?;
            Ok(Layer::Mount(mounted))
        }
    }
}

struct Layers<'a> {
    lowers: Vec<Layer>,
    data: Option<&'a Path>,
    upper: Option<&'a Path>,
    work: Option<&'a Path>,
    options: &'a [String],
}

impl Layers<'_> {
    /// Gives the first lower layer: the probe for `lowerdir+`.
    fn first_appended(&self, context: &OwnedFd) -> Result<(), Errno> {
        match self.lowers.first() {
            Some(layer) => append(context, "lowerdir+", &layer.name()),
            None => Err(Errno::NOENT),
        }
    }

    fn by_parameters(&self, context: &OwnedFd) -> Result<OwnedFd, Errno> {
        for layer in &self.lowers[1..] {
            append(context, "lowerdir+", &layer.name())?;
        }
        if let Some(data) = self.data {
            append(context, "datadir+", data)?;
        }
        for (key, path) in [("upperdir", self.upper), ("workdir", self.work)] {
            if let Some(path) = path {
                append(context, key, path)?;
            }
        }
        for option in self.options {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(context, key, value)?,
                None => fsconfig_set_flag(context, option.as_str())?,
            }
        }
        fsconfig_set_string(context, "source", "overlay")?;
        fsconfig_create(context)?;
        detached(context, 0)
    }

    /// The mount(2) form. Layers are named through descriptors where their paths would not fit the
    /// page or have a character that separates options.
    fn by_page(&self, spare: &Path) -> Result<OwnedFd, Failure> {
        if self.data.is_some() {
            return Err(Failure::invalid(
                "this kernel has no data-only overlay layers".to_owned(),
            ));
        }
        let plain = self.page(|path| Ok((path.display().to_string(), None)))?;
        let special = |path: &Path| path.to_string_lossy().contains([',', ':', '\\']);
        let (page, _held) = if plain.0.len() < 4000 && !self.paths().any(|path| special(&path)) {
            plain
        } else {
            self.page(|path| {
                let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                    .step(|| format!("open the layer {}", path.display()))?;
                Ok((format!("/proc/self/fd/{}", fd.as_raw_fd()), Some(fd)))
            })?
        };
        let data = std::ffi::CString::new(page)
            .map_err(|_| Failure::invalid("a layer's path has a zero byte in it".to_owned()))?;
        mount(
            "overlay",
            spare,
            "overlay",
            MountFlags::empty(),
            data.as_c_str(),
        )
        .step(|| format!("mount overlay of {} layers", self.lowers.len()))?;
        // Only mount(2) needs a place; from there it is taken off, as the newer form makes it.
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, spare, flags).step(|| "detach the overlay".to_owned())?;
        unmount(spare, UnmountFlags::DETACH).step(|| "detach the overlay".to_owned())?;
        Ok(tree)
    }

    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let fixed = [self.upper, self.work].into_iter().flatten();
        let fixed = fixed.map(Path::to_owned);
        self.lowers.iter().map(Layer::name).chain(fixed)
    }

    fn page(
        &self,
        name: impl Fn(&Path) -> Result<(String, Option<OwnedFd>), Failure>,
    ) -> Result<(String, Vec<OwnedFd>), Failure> {
        let mut held = Vec::new();
        let mut named = |path: &Path| -> Result<String, Failure> {
            let (name, fd) = name(path)?;
            held.extend(fd);
            Ok(name)
        };
        let lowers = self.lowers.iter().map(|layer| named(&layer.name()));
        let mut page = format!(
            "lowerdir={}",
            lowers.collect::<Result<Vec<_>, _>>()?.join(":")
        );
        for (key, path) in [("upperdir", self.upper), ("workdir", self.work)] {
            if let Some(path) = path {
                let _ = write!(page, ",{key}={}", named(path)?);
            }
        }
        for option in self.options {
            let _ = write!(page, ",{option}");
        }
        Ok((page, held))
    }
}

/// Gives a path as a parameter; the kernel takes 255 bytes as a string, so a longer one is given
/// through a descriptor's link.
fn append(context: &OwnedFd, key: &str, path: &Path) -> Result<(), Errno> {
    if path.as_os_str().len() < 256 {
        return fsconfig_set_string(context, key, path);
    }
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    fsconfig_set_string(context, key, link)
}
