//! Containers on the real kernel, looked at from inside.
//!
//! A harness of its own with one thread, because the runtime goes on in a clone of its caller and
//! refuses a threaded one. It speaks as much of the standard harness's language as cargo and
//! nextest need. The program doubles as the probe: executed in a container with `probe WHAT`, it
//! tries what a busybox cannot.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test program with a harness of its own, which clippy does not see as one"
)]

mod containers;
mod defaults;
mod hostile;
mod lifecycle;
mod limits;
mod probe;
mod settings;

/// Every test, by name.
const TESTS: &[(&str, fn())] = &[
    (
        "privileged_defaults_are_dockers",
        defaults::privileged_defaults_are_dockers,
    ),
    (
        "privileged_kernel_files_are_masked",
        defaults::privileged_kernel_files_are_masked,
    ),
    (
        "privileged_no_descriptor_leaks",
        defaults::privileged_no_descriptor_leaks,
    ),
    (
        "privileged_calls_are_filtered",
        defaults::privileged_calls_are_filtered,
    ),
    (
        "privileged_chroot_is_no_way_out",
        defaults::privileged_chroot_is_no_way_out,
    ),
    (
        "privileged_nothing_shows_on_the_host",
        defaults::privileged_nothing_shows_on_the_host,
    ),
    (
        "privileged_links_in_the_image_lead_nowhere",
        hostile::privileged_links_in_the_image_lead_nowhere,
    ),
    (
        "privileged_linked_proc_and_sys_are_refused",
        hostile::privileged_linked_proc_and_sys_are_refused,
    ),
    (
        "privileged_working_directory_cannot_be_a_descriptor",
        hostile::privileged_working_directory_cannot_be_a_descriptor,
    ),
    (
        "privileged_a_device_in_the_way_is_refused",
        hostile::privileged_a_device_in_the_way_is_refused,
    ),
    (
        "privileged_a_linked_mount_target_stays_inside",
        hostile::privileged_a_linked_mount_target_stays_inside,
    ),
    (
        "privileged_exec_failures_have_dockers_codes",
        lifecycle::privileged_exec_failures_have_dockers_codes,
    ),
    (
        "privileged_start_works_once",
        lifecycle::privileged_start_works_once,
    ),
    (
        "privileged_a_start_ordered_ahead_needs_no_second_word",
        lifecycle::privileged_a_start_ordered_ahead_needs_no_second_word,
    ),
    (
        "privileged_what_was_mounted_since_init_was_cloned_is_seen",
        lifecycle::privileged_what_was_mounted_since_init_was_cloned_is_seen,
    ),
    (
        "privileged_a_volatile_layer_is_mounted_once_more",
        lifecycle::privileged_a_volatile_layer_is_mounted_once_more,
    ),
    (
        "privileged_a_failed_create_leaves_nothing",
        lifecycle::privileged_a_failed_create_leaves_nothing,
    ),
    (
        "privileged_init_ends_with_its_parent",
        lifecycle::privileged_init_ends_with_its_parent,
    ),
    (
        "privileged_the_reaper_reaps_and_forwards",
        lifecycle::privileged_the_reaper_reaps_and_forwards,
    ),
    (
        "privileged_a_terminal_is_the_containers_own",
        lifecycle::privileged_a_terminal_is_the_containers_own,
    ),
    (
        "privileged_steps_are_explained",
        lifecycle::privileged_steps_are_explained,
    ),
    (
        "privileged_limits_are_in_force",
        limits::privileged_limits_are_in_force,
    ),
    (
        "privileged_a_refused_limit_names_its_file",
        limits::privileged_a_refused_limit_names_its_file,
    ),
    (
        "privileged_out_of_memory_is_counted",
        limits::privileged_out_of_memory_is_counted,
    ),
    (
        "privileged_frozen_and_killed",
        limits::privileged_frozen_and_killed,
    ),
    (
        "privileged_devices_are_denied",
        limits::privileged_devices_are_denied,
    ),
    (
        "privileged_users_have_no_capabilities",
        settings::privileged_users_have_no_capabilities,
    ),
    (
        "privileged_no_new_privileges",
        settings::privileged_no_new_privileges,
    ),
    (
        "privileged_binds_follow_their_options",
        settings::privileged_binds_follow_their_options,
    ),
    (
        "privileged_read_only_root",
        settings::privileged_read_only_root,
    ),
    (
        "privileged_namespaces_are_shared_as_asked",
        settings::privileged_namespaces_are_shared_as_asked,
    ),
    (
        "privileged_sysctls_and_limits",
        settings::privileged_sysctls_and_limits,
    ),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "probe") {
        probe::main(&args[1..]);
        return;
    }
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has("--list") {
        if !has("--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| match has("--exact") {
                true => name == *filter,
                false => name.contains(filter.as_str()),
            })
    };
    if let Some(why) = containers::cannot_run() {
        eprintln!("SKIP: {why}");
        return;
    }
    for (name, test) in TESTS
        .iter()
        .filter(|(name, _)| wanted(name) && !has("--ignored"))
    {
        // A failure is a panic, which aborts: its name must be known by then.
        eprintln!("test {name} …");
        test();
    }
    println!("test result: ok");
}
