//! Prints the scores of rows of numbers, one row a line, read from stdin.
mod tagger;

use std::error::Error;
use std::io::{self, Read};
use tagger::{Tagger, FEATURES, SCORES};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut text, mut features) = (String::new(), Vec::new());
    io::stdin().read_to_string(&mut text)?;
    for word in text.split_whitespace() {
        features.push(word.parse::<f32>()?);
    }
    let mut scores = vec![0.0; features.len() / FEATURES * SCORES];
    eprintln!("{}: {} rows", Tagger::name(), features.len() / FEATURES);
    let mut model = Tagger::new();
    model.run(&features, &mut scores)?;
    for row in scores.chunks(SCORES) {
        let words: Vec<String> = row.iter().map(f32::to_string).collect();
        println!("{}", words.join(" "));
    }
    Ok(())
}
