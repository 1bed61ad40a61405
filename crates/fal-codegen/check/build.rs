//! The build script of the crate's README, over the documents of the mock.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let generator = fal_codegen::Generator::new().folder("../../../mock-server/models")?;
    for path in generator.inputs() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let out = std::path::Path::new(&std::env::var("OUT_DIR")?).join("fal.rs");
    generator.generate()?.write(out)?;
    Ok(())
}
