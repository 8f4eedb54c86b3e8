use crate::cli::{Example, exactly};
use crate::container::volumes;
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;
use crate::volume;

/// Unmount a volume
///
/// Takes away what `volume mount` mounted, in the same shell of `coracle unshare`.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "VOLUME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle volume unmount model_output",
    does: "Unmount a volume.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    let volume = volume::find(&engine.storage, &args.names[0])?;
    if crate::userns::is_inside() {
        volumes::unmount(&engine.storage, &volume)?;
    }
    output.line(&volume.name);
    Ok(0)
}
