//! Fuzz target: `lamina_fuzz::challenge`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lamina_fuzz::challenge(data));

#[cfg(not(fuzzing))]
fn main() {
    lamina_fuzz::driver::run(lamina_fuzz::challenge);
}
