//! The table of commands: names, usage, one line each, and where they stand.

use crate::args::{
    AttachArgs, BlobsArgs, CleanupArgs, CommitArgs, ContainerPruneArgs, CpArgs, CreateArgs,
    CreateMinimalArgs, DfArgs, DiffArgs, EventsArgs, ExecArgs, ExplainArgs, ExportArgs, FsckArgs,
    GenerateSystemdArgs, HealthcheckArgs, HistoryArgs, ImagePruneArgs, ImagesArgs, ImportArgs,
    InfoArgs, InspectArgs, KillArgs, LoadArgs, LoginArgs, LogoutArgs, LogsArgs, MarkdownHelpArgs,
    MigrateArgs, PauseArgs, PortArgs, PruneArgs, PsArgs, PullArgs, PushArgs, RenameArgs,
    RestartArgs, RmArgs, RmiArgs, RunArgs, SaveArgs, SearchTagsArgs, ServeArgs, StartArgs,
    StatsArgs, StopArgs, TagArgs, TidyArgs, TopArgs, TreeArgs, UndoArgs, UnpauseArgs, UntagArgs,
    UpdateArgs, VersionArgs, VolumeCloneArgs, VolumeCreateArgs, VolumeExportArgs, VolumeImportArgs,
    VolumeInspectArgs, VolumeLsArgs, VolumePruneArgs, VolumeRenameArgs, VolumeRmArgs, WaitArgs,
    WhyArgs,
};
use crate::commands::{InspectContainer, InspectImage};

use super::{Entry, Group, entry};

const CONTAINER: &str = "CONTAINER [CONTAINER...]";
const IMAGE: &str = "IMAGE [IMAGE...]";
const WORDS: &str = "IMAGE [COMMAND] [ARG...]";

const RUN: Entry = entry::<RunArgs>("run", WORDS, "Create and run a new container from an image");
const CREATE: Entry = entry::<CreateArgs>("create", WORDS, "Create a new container");
const START: Entry = entry::<StartArgs>("start", CONTAINER, "Start one or more stopped containers");
const STOP: Entry = entry::<StopArgs>("stop", CONTAINER, "Stop one or more running containers");
const KILL: Entry = entry::<KillArgs>("kill", CONTAINER, "Kill one or more running containers");
const WAIT: Entry = entry::<WaitArgs>(
    "wait",
    CONTAINER,
    "Wait until containers stop, then print their exit codes",
);
const HEALTHCHECK: Entry = entry::<HealthcheckArgs>(
    "healthcheck",
    "CONTAINER",
    "Check once whether a container is healthy",
);
const EXEC: Entry = entry::<ExecArgs>(
    "exec",
    "CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
);
const ATTACH: Entry = entry::<AttachArgs>(
    "attach",
    "CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
);
const RM: Entry = entry::<RmArgs>("rm", CONTAINER, "Remove one or more containers");
const PS: Entry = entry::<PsArgs>("ps", "", "List containers");
const LOGS: Entry = entry::<LogsArgs>("logs", "CONTAINER", "Fetch the logs of a container");
const DIFF: Entry = entry::<DiffArgs>(
    "diff",
    "CONTAINER",
    "Inspect changes to files or directories on a container's filesystem",
);
const COMMIT: Entry = entry::<CommitArgs>(
    "commit",
    "CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
);
const PAUSE: Entry = entry::<PauseArgs>(
    "pause",
    CONTAINER,
    "Pause all processes within one or more containers",
);
const UNPAUSE: Entry = entry::<UnpauseArgs>(
    "unpause",
    CONTAINER,
    "Unpause all processes within one or more containers",
);
const RESTART: Entry = entry::<RestartArgs>("restart", CONTAINER, "Restart one or more containers");
const RENAME: Entry = entry::<RenameArgs>("rename", "CONTAINER NEW_NAME", "Rename a container");
const UPDATE: Entry = entry::<UpdateArgs>(
    "update",
    CONTAINER,
    "Update configuration of one or more containers",
);
const TOP: Entry = entry::<TopArgs>(
    "top",
    "CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
);
const STATS: Entry = entry::<StatsArgs>(
    "stats",
    "[CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
);
const PORT: Entry = entry::<PortArgs>(
    "port",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
);
const CP: Entry = entry::<CpArgs>(
    "cp",
    "CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files/folders between a container and the local filesystem",
);
const EXPORT: Entry = entry::<ExportArgs>(
    "export",
    "CONTAINER",
    "Export a container's filesystem as a tar archive",
);
const PULL: Entry = entry::<PullArgs>(
    "pull",
    "NAME[:TAG|@DIGEST]",
    "Download an image from a registry",
);
const PUSH: Entry = entry::<PushArgs>("push", "NAME[:TAG]", "Upload an image to a registry");
const IMAGES: Entry = entry::<ImagesArgs>("images", "[REPOSITORY[:TAG]]", "List images");
const LOAD: Entry = entry::<LoadArgs>(
    "load",
    "",
    "Load an image from a tar archive, an OCI directory or STDIN",
);
const SAVE: Entry = entry::<SaveArgs>(
    "save",
    IMAGE,
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
);
const IMPORT: Entry = entry::<ImportArgs>(
    "import",
    "FILE|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
);
const TAG: Entry = entry::<TagArgs>(
    "tag",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
);
const UNTAG: Entry = entry::<UntagArgs>(
    "untag",
    "IMAGE [NAME...]",
    "Take names away from an image, which stays",
);
const HISTORY: Entry = entry::<HistoryArgs>("history", "IMAGE", "Show the history of an image");
const EXPLAIN: Entry = entry::<ExplainArgs>(
    "explain",
    "IMAGE",
    "Tell what each instruction of an image cost, what is wasted, and the fix",
);
const TREE: Entry = entry::<TreeArgs>(
    "tree",
    "[IMAGE]",
    "Show which images stand on the same layers",
);
const LOGIN: Entry = entry::<LoginArgs>("login", "[SERVER]", "Authenticate to a registry");
const LOGOUT: Entry = entry::<LogoutArgs>("logout", "[SERVER]", "Log out from a registry");
const SEARCH_TAGS: Entry = entry::<SearchTagsArgs>(
    "search-tags",
    "REPOSITORY",
    "List the tags of a repository in its registry",
);
const SERVE: Entry = entry::<ServeArgs>(
    "serve",
    "",
    "Serve the images that are here to other machines, and take theirs",
);
const RMI: Entry = entry::<RmiArgs>("rmi", IMAGE, "Remove one or more images");
const MINIMAL: Entry = entry::<CreateMinimalArgs>(
    "create-minimal",
    "NAME",
    "Make an image of this machine's own programs and their libraries",
);
const INSPECT: Entry = entry::<InspectArgs>(
    "inspect",
    "NAME|ID [NAME|ID...]",
    "Return low-level information on containers and images",
);
const INSPECT_CONTAINER: Entry = entry::<InspectContainer>(
    "inspect",
    CONTAINER,
    "Display detailed information on one or more containers",
);
const INSPECT_IMAGE: Entry = entry::<InspectImage>(
    "inspect",
    IMAGE,
    "Display detailed information on one or more images",
);
const BLOBS: Entry = entry::<BlobsArgs>(
    "blobs",
    "IMAGE",
    "List the packed layers of an image, or make those that are not here",
);
const MIGRATE: Entry = entry::<MigrateArgs>(
    "migrate",
    "",
    "Convert what an older version or another storage mode left",
);
const GENERATE_SYSTEMD: Entry = entry::<GenerateSystemdArgs>(
    "systemd",
    "[CONTAINER]",
    "Print a systemd unit that starts a container, or those that restart, at boot",
);
const INFO: Entry = entry::<InfoArgs>("info", "", "Display system-wide information");
const EVENTS: Entry = entry::<EventsArgs>("events", "", "Get events, those of before too");
const DF: Entry = entry::<DfArgs>("df", "", "Show disk usage");
const WHY: Entry = entry::<WhyArgs>(
    "why",
    "DIGEST|PATH|IMAGE",
    "Tell what keeps something in the store",
);
const PRUNE: Entry = entry::<PruneArgs>(
    "prune",
    "",
    "Remove stopped containers, dangling images and what nothing needs",
);
const IMAGE_PRUNE: Entry = entry::<ImagePruneArgs>("prune", "", "Remove unused images");
const CONTAINER_PRUNE: Entry =
    entry::<ContainerPruneArgs>("prune", "", "Remove all stopped containers");
const VOLUME: &str = "VOLUME [VOLUME...]";
const VOLUME_CREATE: Entry = entry::<VolumeCreateArgs>("create", "[VOLUME]", "Create a volume");
const VOLUME_LS: Entry = entry::<VolumeLsArgs>("ls", "", "List volumes");
const VOLUME_INSPECT: Entry = entry::<VolumeInspectArgs>(
    "inspect",
    VOLUME,
    "Display detailed information on one or more volumes",
);
const VOLUME_RM: Entry = entry::<VolumeRmArgs>(
    "rm",
    VOLUME,
    "Remove one or more volumes, which no container uses",
);
const VOLUME_PRUNE: Entry = entry::<VolumePruneArgs>("prune", "", "Remove unused local volumes");
const VOLUME_RENAME: Entry =
    entry::<VolumeRenameArgs>("rename", "VOLUME NEW_NAME", "Rename a volume");
const VOLUME_CLONE: Entry = entry::<VolumeCloneArgs>(
    "clone",
    "SOURCE TARGET",
    "Create a volume with the contents of another",
);
const VOLUME_EXPORT: Entry = entry::<VolumeExportArgs>(
    "export",
    "VOLUME",
    "Export a volume's contents as a tar archive",
);
const VOLUME_IMPORT: Entry = entry::<VolumeImportArgs>(
    "import",
    "VOLUME [FILE|-]",
    "Import the contents of a tar archive into a volume",
);
const UNDO: Entry = entry::<UndoArgs>("undo", "[ID]", "Bring back what a command removed");
const TIDY: Entry = entry::<TidyArgs>("__tidy", "", "End the time of what was removed").hidden();
const FSCK: Entry = entry::<FsckArgs>(
    "fsck",
    "",
    "Check everything in the store, and mend what is damaged",
);
const VERSION: Entry = entry::<VersionArgs>("version", "", "Show the version information");
const CLEANUP: Entry = entry::<CleanupArgs>(
    "cleanup",
    "CONTAINER",
    "Remove what is left of a container that has ended",
)
.hidden();
const MARKDOWN: Entry =
    entry::<MarkdownHelpArgs>("__markdown-help", "", "Print the reference of all commands")
        .hidden();

/// The commands at the top, in groups; the one without a title is not shown.
pub(crate) const GROUPS: [Group; 5] = [
    Group {
        title: "Containers",
        about: "",
        entries: &[
            RUN, EXEC, ATTACH, CREATE, START, STOP, RESTART, KILL, PAUSE, UNPAUSE, WAIT, RM,
            RENAME, UPDATE, PS, LOGS, TOP, STATS, PORT, DIFF, COMMIT, CP, EXPORT,
        ],
    },
    Group {
        title: "Images",
        about: "",
        entries: &[
            PULL, PUSH, IMAGES, SAVE, LOAD, IMPORT, TAG, UNTAG, RMI, HISTORY, EXPLAIN,
        ],
    },
    Group {
        title: "Registries",
        about: "",
        entries: &[LOGIN, LOGOUT, SEARCH_TAGS],
    },
    Group {
        title: "System",
        about: "",
        entries: &[INSPECT, EVENTS, PRUNE, UNDO, DF, WHY, FSCK, INFO, VERSION],
    },
    Group {
        title: "",
        about: "",
        entries: &[MARKDOWN, TIDY],
    },
];

/// The same commands by what they are about.
pub(crate) const MANAGEMENT: [Group; 7] = [
    Group {
        title: "container",
        about: "Manage containers",
        entries: &[
            RUN,
            EXEC,
            ATTACH,
            CREATE,
            START,
            STOP,
            RESTART,
            KILL,
            PAUSE,
            UNPAUSE,
            WAIT,
            RM.also(&["remove"]),
            CONTAINER_PRUNE,
            RENAME,
            UPDATE,
            PS.named("ls").also(&["ps", "list"]),
            LOGS,
            TOP,
            STATS,
            PORT,
            DIFF,
            COMMIT,
            CP,
            EXPORT,
            INSPECT_CONTAINER,
            HEALTHCHECK.hidden(),
            CLEANUP,
        ],
    },
    Group {
        title: "generate",
        about: "Generate what other programs read",
        entries: &[GENERATE_SYSTEMD],
    },
    Group {
        title: "healthcheck",
        about: "Manage health checks of containers",
        entries: &[HEALTHCHECK.named("run")],
    },
    Group {
        title: "image",
        about: "Manage images",
        entries: &[
            PULL,
            PUSH,
            IMAGES.named("ls").also(&["list"]),
            SAVE,
            LOAD,
            IMPORT,
            TAG,
            UNTAG,
            HISTORY,
            EXPLAIN,
            TREE,
            RMI.named("rm").also(&["remove"]),
            IMAGE_PRUNE,
            INSPECT_IMAGE,
            BLOBS,
            MINIMAL,
        ],
    },
    Group {
        title: "registry",
        about: "Manage the embedded registry",
        entries: &[SERVE],
    },
    Group {
        title: "system",
        about: "Manage lamina",
        entries: &[EVENTS, PRUNE, UNDO, DF, WHY, FSCK, INFO, MIGRATE],
    },
    Group {
        title: "volume",
        about: "Manage volumes",
        entries: &[
            VOLUME_CREATE,
            VOLUME_LS.also(&["list"]),
            VOLUME_INSPECT,
            VOLUME_RM.also(&["remove"]),
            VOLUME_PRUNE,
            VOLUME_RENAME,
            VOLUME_CLONE,
            VOLUME_EXPORT,
            VOLUME_IMPORT,
        ],
    },
];
