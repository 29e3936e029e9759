// Links the compiled model. TFAOT_MODEL_DIR is the folder that holds tagger.o, or libtagger.a, which
// is taken where it is there; without the variable it is ../../out.
use std::env;
use std::path::PathBuf;

fn main() {
    let folder = env::var_os("TFAOT_MODEL_DIR").map_or_else(
        || PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../out"),
        PathBuf::from,
    );
    let folder = folder
        .canonicalize()
        .unwrap_or_else(|error| panic!("TFAOT_MODEL_DIR {}: {error}", folder.display()));
    let (archive, object) = (folder.join("libtagger.a"), folder.join("tagger.o"));
    if archive.exists() {
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=static=tagger");
    } else {
        println!("cargo:rustc-link-arg={}", object.display());
    }
    println!("cargo:rerun-if-env-changed=TFAOT_MODEL_DIR");
    println!("cargo:rerun-if-changed={}", archive.display());
    println!("cargo:rerun-if-changed={}", object.display());
}
