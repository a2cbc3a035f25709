//! The options of the driver `local`, whose defaults and texts are its own.

use std::collections::BTreeMap;

use lamina_monitor::{LogConfig, LogDriver};

use super::{LogRequest, LogRequestError, boolean, size};

/// What it knows.
pub(super) const OPTIONS: [&str; 5] = [
    "max-size",
    "max-file",
    "compress",
    "mode",
    "max-buffer-size",
];

const MAX_SIZE: u64 = 20 << 20;
const MAX_FILES: u32 = 5;

impl LogRequest {
    /// Decides what the monitor does for this driver.
    pub(super) fn local(&self) -> Result<LogConfig, LogRequestError> {
        let bad = |text: String| LogRequestError::Value(text);
        let mut config = LogConfig {
            driver: LogDriver::Local,
            max_size: MAX_SIZE,
            max_files: MAX_FILES,
            compress: true,
            attributes: BTreeMap::new(),
            sink: None,
        };
        if let Some(text) = self.option("max-size") {
            let invalid = || {
                bad(format!(
                    "invalid value for max-size: {text}: invalid size: '{text}'"
                ))
            };
            config.max_size = size(text).ok_or_else(invalid)?;
        }
        if let Some(text) = self.option("max-file") {
            let invalid = |_| {
                bad(format!(
                    "invalid value for max-file: {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
                ))
            };
            let count: i64 = text.parse().map_err(invalid)?;
            let negative = |_| bad("max file count cannot be less than 0".to_owned());
            // None beside the current one is the least there can be.
            config.max_files = u32::try_from(count).map_err(negative)?.max(1);
        }
        if let Some(text) = self.option("compress") {
            let invalid = || {
                bad(format!(
                    "error reading compress log option: strconv.ParseBool: parsing {text:?}: invalid syntax"
                ))
            };
            config.compress = boolean(text).ok_or_else(invalid)?;
        }
        if config.compress && config.max_files < 2 {
            let text = "compression cannot be enabled when max file count is 1";
            return Err(bad(text.to_owned()));
        }
        Ok(config)
    }
}
