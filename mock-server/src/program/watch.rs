//! `--watch`: scenarios are played anew when their files change.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use fal_mock::MockFal;
use fal_mock::scenario::Watch;

/// Looks after the files of scenarios, for ever.
pub(crate) async fn watch(mock: &MockFal, what: Vec<PathBuf>) {
    let mut watch = Watch::new(what);
    loop {
        tokio::time::sleep(LOOK_TIME).await;
        // Files may be slow, on a network; nobody else shall wait for them.
        let looked = tokio::task::spawn_blocking(move || {
            let found = watch.look();
            (watch, found)
        });
        let Ok((again, found)) = looked.await else { return };
        watch = again;
        let text = match found {
            None => continue,
            Some(Ok(layers)) => match mock.set_scenarios(&layers) {
                Ok(()) => {
                    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
                    format!("plays {} anew", names.join(", "))
                }
                Err(error) => format!("goes on with the scenario before: {error}"),
            },
            Some(Err(error)) => format!("goes on with the scenario before:\n{error}"),
        };
        let _ = writeln!(io::stderr().lock(), "fal-mock: {text}");
    }
}

/// Between two looks at the files.
const LOOK_TIME: Duration = Duration::from_millis(500);
