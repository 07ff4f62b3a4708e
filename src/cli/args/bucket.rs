//! The grammar of `annals bucket ...`.

use std::time::Duration;

use annals::{BucketConfig, Compression};
use clap::{Args as ArgGroup, Subcommand, ValueEnum};

use super::quantity::{Limit, size_limit, span_limit};

#[derive(Debug, Subcommand)]
pub(crate) enum BucketVerb {
    /// Create a bucket, and the store if there is none; again with the same configuration changes nothing
    Add {
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change the configuration of a bucket: only what is given, all else stays
    #[command(after_help = "Lower limits hold for every reader at once; raising one again brings nothing back.")]
    Edit {
        name: String,
        #[command(flatten)]
        limits: Limits,
        /// Drop the pair with this key; may be repeated
        #[arg(long, value_name = "K")]
        drop_metadata: Vec<String>,
    },
    /// List the buckets
    Ls,
    /// Describe a bucket and count what it holds
    Info { name: String },
    /// Remove a bucket with all that it holds
    Rm { name: String },
}

/// What a bucket is to be, as far as it is said.
#[derive(Debug, ArgGroup)]
pub(crate) struct Limits {
    /// How many entries of each key are kept, 1 to 64; 1 for a new bucket
    #[arg(long, value_name = "N")]
    history: Option<u8>,
    /// How old entries get, at least 100ms: 30s, 12h, 7days; or none
    #[arg(long, value_name = "SPAN", value_parser = span_limit)]
    max_age: Option<Limit<Duration>>,
    /// Leave a marker where a key expires, which lives for this span, at least 100ms; or none
    #[arg(long, value_name = "SPAN", value_parser = span_limit)]
    limit_markers: Option<Limit<Duration>>,
    /// What all retained entries may take together (key + value + 32 for each): 4096, 64MiB; or none
    #[arg(long, value_name = "SIZE", value_parser = size_limit)]
    max_bytes: Option<Limit<u64>>,
    /// The largest value: 4096, 64KiB; or none, which leaves the store's limit
    #[arg(long, value_name = "SIZE", value_parser = size_limit)]
    max_value_size: Option<Limit<u64>>,
    /// How values are stored
    #[arg(long, value_enum)]
    compression: Option<CompressionName>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A pair of your own; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    metadata: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompressionName {
    /// As they are
    None,
    /// Zstandard, where that saves something
    Zstd,
}

impl Limits {
    /// The configuration with everything that was said in place of what was there.
    pub(crate) fn applied_to(&self, mut config: BucketConfig) -> BucketConfig {
        if let Some(depth) = self.history {
            config = config.history(depth);
        }
        if let Some(age) = self.max_age {
            config = config.max_age(age.value());
        }
        if let Some(lifetime) = self.limit_markers {
            config = config.limit_markers(lifetime.value());
        }
        if let Some(bytes) = self.max_bytes {
            config = config.max_bytes(bytes.value());
        }
        if let Some(bytes) = self.max_value_size {
            config = config.max_value_size(bytes.value());
        }
        if let Some(compression) = self.compression {
            config = config.compression(match compression {
                CompressionName::None => Compression::None,
                CompressionName::Zstd => Compression::Zstd,
            });
        }
        if let Some(text) = &self.description {
            config = config.description(text);
        }
        if !self.metadata.is_empty() {
            let mut pairs = config.metadata_pairs().clone();
            pairs.extend(self.metadata.iter().cloned());
            config = config.metadata(pairs);
        }
        config
    }

    /// Whether nothing was said.
    pub(crate) const fn is_empty(&self) -> bool {
        let Self { history, max_age, limit_markers, max_bytes, max_value_size, compression, description, metadata } = self;
        history.is_none()
            && max_age.is_none()
            && limit_markers.is_none()
            && max_bytes.is_none()
            && max_value_size.is_none()
            && compression.is_none()
            && description.is_none()
            && metadata.is_empty()
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it takes the form K=V")?;
    if key.is_empty() { Err("the key before = is empty".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Verb};
    use clap::Parser;

    fn limits(words: &str) -> Limits {
        let line = format!("annals bucket edit b {words}");
        match Args::parse_from(line.split_whitespace()).verb {
            Verb::Bucket(BucketVerb::Edit { limits, .. }) => limits,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_stays() {
        let all = "--history 3 --max-age 1h --limit-markers 5m --max-bytes 1MiB --max-value-size 1kB --compression zstd \
             --description d --metadata a=1";
        let config = limits(all).applied_to(BucketConfig::new("b"));
        assert!(limits("").is_empty() && !limits(all).is_empty());
        assert_eq!(limits("").applied_to(config.clone()), config);
        let edited = limits("--max-age none --metadata b=2").applied_to(config.clone());
        assert_eq!((edited.age_limit(), edited.metadata_pairs().len()), (None, 2));
        assert_eq!(limits("--limit-markers none").applied_to(config.clone()).marker_lifetime(), None);
        assert_eq!(edited.max_age(config.age_limit()).metadata(config.metadata_pairs().clone()), config);
    }

    #[test]
    fn metadata_is_split_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
