//! Images that containers mount beside their own (`--mount type=image`).
//!
//! What a name leads to is decided when the container is made: its record says which image that
//! was, and its writable layer holds it, as it holds the container's own.

use lamina_fs::At;
use lamina_image::FindError;
use lamina_runtime::spec_default;
use lamina_snapshot::ImageLayers;
use lamina_store::Pin;
use lamina_types::Rootfs;
use lamina_types::mount::MountKind;

use crate::Engine;
use crate::process::lexically;
use crate::record::ImageUse;
use crate::request::CreateRequest;
use crate::rootfs::RootfsError;
use crate::spec::VolumeMount;

impl Engine {
    /// Finds the images that a request mounts. As with Docker they have to be here.
    pub(crate) fn find_mounted(&self, request: &CreateRequest) -> Result<Vec<ImageUse>, FindError> {
        let mut found = Vec::new();
        for mount in &request.mounts {
            let MountKind::Image { source, subpath } = &mount.kind else {
                continue;
            };
            let image = self.images().find(source)?;
            found.push(ImageUse {
                source: source.clone(),
                pin: Pin {
                    diff_ids: image.diff_ids().to_vec(),
                    image: Some(image.id.clone()),
                    manifest: Some(image.manifest.digest.clone()),
                    mounted: Vec::new(),
                },
                target: lexically(&mount.target),
                subpath: subpath.clone(),
            });
        }
        Ok(found)
    }

    /// Returns the mounts of a container's images, for the runtime.
    pub(crate) fn image_mounts(
        &self,
        images: &[ImageUse],
    ) -> Result<Vec<VolumeMount>, RootfsError> {
        let mount = |image: &ImageUse| {
            let tree = self.image_view(image)?;
            let tree = serde_json::to_string(&tree).map_err(std::io::Error::from);
            let tree = tree.at("serialise the tree of", &image.source)?;
            Ok(VolumeMount {
                kind: spec_default::IMAGE.to_owned(),
                source: image.source.clone().into(),
                options: vec![format!("{}{tree}", spec_default::TREE)],
                subpath: image.subpath.clone(),
                target: image.target.clone(),
                read_only: true,
            })
        };
        images.iter().map(mount).collect()
    }

    /// Returns what is mounted of an image.
    pub(crate) fn image_view(&self, image: &ImageUse) -> Result<Rootfs, RootfsError> {
        let layers = ImageLayers {
            diff_ids: image.pin.diff_ids.clone(),
            ..ImageLayers::default()
        };
        Ok(self.snapshotter()?.view(&layers)?)
    }
}
