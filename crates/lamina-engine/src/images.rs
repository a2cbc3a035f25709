//! Images as containers see them: which one a request means, and which ones are in use.

use lamina_image::{EnsureError, Image, Images, Policy, Progress, UsedBy, Wanted};
use lamina_types::ImageId;

use crate::Engine;
use crate::container::list::{ListError, state_of};
use crate::request::{CreateRequest, PullPolicy};

impl Engine {
    /// Returns the image of a request, complete: found here, made of the host's programs, pulled.
    pub(crate) fn image(
        &self,
        request: &CreateRequest,
        progress: &dyn Progress,
    ) -> Result<Image, Box<EnsureError>> {
        let wanted = Wanted {
            reference: &request.image,
            policy: match request.pull {
                PullPolicy::Always => Policy::Always,
                PullPolicy::Missing => Policy::Missing,
                PullPolicy::Never => Policy::Never,
            },
            platform: request.platform.as_ref(),
            host: &self.config.host,
            client: &*self.client,
            progress,
        };
        // What looks like a name may be the beginning of an image's id, as in Docker.
        let text = match request.image.familiar() {
            text if text.starts_with("sha256:") => text,
            _ => request.image.familiar_repository(),
        };
        let could_be_id = request.pull != PullPolicy::Always && is_id_prefix(&text);
        if could_be_id && let Ok(image) = self.images().find(&text) {
            return Ok(image);
        }
        self.images().ensure(&wanted).map_err(Box::new)
    }

    /// Returns the images of the store; those that come are for the storage mode in use.
    pub fn images(&self) -> Images<'_> {
        let images = Images::new(&self.store).with_keep_blobs(self.config.keep_blobs);
        match self.snapshotter() {
            Ok(snapshots) => images.with_snapshots(snapshots),
            // Images can be kept where none can be run; whoever runs one is told why.
            Err(_) => images,
        }
    }

    /// Returns the containers that were made from an image or mount it: what guards it against removal.
    pub fn image_users(&self, image: &ImageId) -> Result<Vec<UsedBy>, ListError> {
        let mut users = Vec::new();
        for id in self.container_ids()? {
            let Some(container) = self.listed(&id)? else {
                continue;
            };
            if container.record.uses_image(image) {
                users.push(UsedBy {
                    running: state_of(&container)?.status.is_running(),
                    container: container.record.id.short().to_owned(),
                });
            }
        }
        Ok(users)
    }
}

/// Returns whether a text could be the beginning of an image's id; Docker takes four digits.
fn is_id_prefix(text: &str) -> bool {
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    (4..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
