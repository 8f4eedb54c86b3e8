//! Looking for repositories: the index of Docker's first protocol, which only some
//! registries still answer, else the catalog.
//!
//! ```text
//! GET /v1/search?q=TERM&n=LIMIT     names, descriptions, stars
//! GET /v2/_catalog                  every name; we look for the term in it
//! ```

use serde::{Deserialize, Serialize};
use ureq::http::Method;

use super::auth::escaped;
use super::client::{next_page, refused};
use super::transport::{Question, header, short_body};
use super::{Client, MOST_BYTES};
use crate::error::{Context, Error, Result};

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hit {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub description: String,
    pub star_count: i64,
    pub is_official: bool,
    pub is_automated: bool,
}

/// Go writes nothing as `null`.
fn or_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_default())
}

impl Client {
    /// Repositories that `term` leads to, `most` of them where that is not 0.
    pub fn search(&self, term: &str, most: usize) -> Result<Vec<Hit>> {
        // The index has no answer to no question.
        if !term.is_empty()
            && let Some(found) = self.search_index(term, most)?
        {
            return Ok(found);
        }
        self.search_catalog(term, most)
    }

    fn search_index(&self, term: &str, most: usize) -> Result<Option<Vec<Hit>>> {
        #[derive(Deserialize)]
        struct Answer {
            results: Option<Vec<Hit>>,
        }
        let origin = match self.registry() {
            "docker.io" => "https://index.docker.io".to_owned(),
            _ => self.origin()?,
        };
        let mut url = format!("{origin}/v1/search?q={}", escaped(term));
        if most > 0 {
            url.push_str(&format!("&n={most}"));
        }
        let answer = self.try_hard(|| {
            self.ask(&Question {
                method: Method::GET,
                url: &url,
                headers: Vec::new(),
                authorization: None,
            })
        })?;
        if answer.status() != 200 {
            return Ok(None);
        }
        let tried = || format!("read the answer of {origin}/v1/search");
        let bytes = short_body(answer, MOST_BYTES).tried(tried)?;
        // A page of a website says 200, too.
        let found = serde_json::from_slice::<Answer>(&bytes);
        Ok(found.ok().and_then(|it| it.results))
    }

    fn search_catalog(&self, term: &str, most: usize) -> Result<Vec<Hit>> {
        #[derive(Deserialize)]
        struct Catalog {
            repositories: Option<Vec<String>>,
        }
        let base = format!("{}/v2/_catalog", self.origin()?);
        let mut url = base.clone();
        let mut found = Vec::new();
        // More pages than any registry has; who has more means harm.
        for _ in 0..1000 {
            let answer = self.try_hard(|| {
                self.ask(&Question {
                    method: Method::GET,
                    url: &url,
                    headers: Vec::new(),
                    authorization: None,
                })
            })?;
            if !answer.status().is_success() {
                let code = answer.status().as_u16();
                return Err(Error::other(format!("StatusCode: {code}, {}", refused(answer)))
                    .hint("not every registry can be searched; `search --list-tags` lists the tags of a repository whose name is known"));
            }
            let link = header(&answer, "link").and_then(next_page);
            let tried = || "read the catalog";
            let bytes = short_body(answer, MOST_BYTES).tried(tried)?;
            let page: Catalog = serde_json::from_slice(&bytes).tried(tried)?;
            let names = page.repositories.unwrap_or_default();
            let is_last = names.is_empty();
            for name in names {
                if most > 0 && found.len() == most {
                    return Ok(found);
                }
                if name.contains(term) {
                    found.push(Hit {
                        name,
                        ..Hit::default()
                    });
                }
            }
            match link {
                Some(query) if !is_last => url = format!("{base}?{query}"),
                _ => break,
            }
        }
        Ok(found)
    }
}
