//! The imports of the source files, resolved to the files that define the imported names. Line comments, literals and test
//! code are skipped. Re-exports are followed, so that an import through `super::Name` leads to the file that defines `Name`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// The source files of the crate by module path, for example `["stats", "collect"]`. The root has an empty path.
pub(super) struct Crate {
    files: BTreeMap<Vec<String>, File>,
}

pub(super) struct File {
    /// Path from the root of the repository.
    pub(super) name: String,
    uses: Vec<Use>,
    /// Paths in the code with at least two segments.
    paths: Vec<Vec<String>>,
    defined: HashSet<String>,
    /// Identifiers outside imports and declarations of modules.
    words: HashSet<String>,
}

struct Use {
    path: Vec<String>,
    /// `*` for a glob import.
    alias: String,
    is_public: bool,
}

/// An import: the top-level module that is named, and the file that defines the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) module: String,
    pub(super) file: String,
}

/// Returns name and text of every source file, tests included.
pub(super) fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

impl Crate {
    /// Parses source files, given by name and text. Files that are only compiled for tests are left out.
    pub(super) fn new(sources: &[(String, String)]) -> Self {
        let (mut files, mut test_modules) = (BTreeMap::new(), Vec::new());
        for (name, text) in sources.iter().filter(|(name, _)| name != "src/main.rs") {
            let module = module_path(name);
            let (tokens, tests) = without_tests(&tokenize(text));
            test_modules.extend(tests.into_iter().map(|test| [&module[..], &[test]].concat()));
            files.insert(module, File::new(name, &tokens));
        }
        // A top-level module of tests has its own row in the table of modules.
        test_modules.retain(|test| test.len() > 1);
        files.retain(|module, _| !test_modules.iter().any(|test| module.starts_with(test)));
        Self { files }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    /// Returns the imports of each file from other files. The re-exports and child modules that a file only declares are not
    /// its imports.
    pub(super) fn imports(&self) -> BTreeMap<&str, BTreeSet<Import>> {
        self.files.iter().map(|(module, file)| (&file.name[..], self.imports_of_file(module, file))).collect()
    }

    fn imports_of_file(&self, module: &[String], file: &File) -> BTreeSet<Import> {
        // A glob import uses the module itself; of other modules, the paths in the code name the items that are used.
        let is_used = |import: &&Use| !import.is_public || file.words.contains(&import.alias);
        let used = file.uses.iter().filter(is_used).filter_map(|import| {
            let path = self.absolute(module, &import.path)?;
            (import.alias == "*" || !self.is_module(&path)).then_some(path)
        });
        let named =
            file.paths.iter().filter_map(|path| self.absolute(module, path).filter(|path| !self.is_module(path)));
        let resolved = used.chain(named).filter_map(|path| Some((path.first()?.clone(), self.defining_file(&path)?)));
        let imports = resolved.map(|(module, file)| Import { module, file: file.name.clone() });
        imports.filter(|import| import.file != file.name).collect()
    }

    /// Whether a path leads to a module and not to an item in it.
    fn is_module(&self, path: &[String]) -> bool {
        self.files.contains_key(path)
    }

    /// Returns a path of the code from the root of the crate; `None` if it leads to another crate or to a local item.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            _ if self.is_module(&[module, std::slice::from_ref(first)].concat()) => {
                [module, std::slice::from_ref(first)].concat()
            }
            alias => {
                let import = self.files[module].uses.iter().find(|import| import.alias == alias)?;
                if import.path.first() == path.first() {
                    return None;
                }
                self.absolute(module, &import.path)?
            }
        };
        for segment in rest {
            if segment == "super" {
                base.pop();
            } else {
                base.push(segment.clone());
            }
        }
        Some(base)
    }

    /// Returns the file that defines the item to which an absolute path leads.
    fn defining_file(&self, path: &[String]) -> Option<&File> {
        let length = (0..=path.len()).rev().find(|length| self.is_module(&path[..*length]))?;
        let (module, item) = path.split_at(length);
        let file = &self.files[module];
        let Some(name) = item.first().filter(|name| !file.defined.contains(*name)) else { return Some(file) };
        let named = file.uses.iter().filter(|import| import.alias == *name);
        let globs = file.uses.iter().filter(|import| import.alias == "*" && import.is_public);
        let targets = named.chain(globs).filter_map(|import| {
            let target = self.absolute(module, &import.path)?;
            let rest = if import.alias == "*" { item } else { &item[1..] };
            Some([&target[..], rest].concat())
        });
        targets.filter(|target| target != path).find_map(|target| self.defining_file(&target)).or(Some(file))
    }
}

impl File {
    /// Whether the file names a crate.
    pub(super) fn uses_crate(&self, name: &str) -> bool {
        self.uses.iter().map(|import| &import.path).chain(&self.paths).any(|path| path[0] == name)
    }

    /// Whether the file is the root of the crate, which declares the modules.
    pub(super) fn is_root(&self) -> bool {
        self.name == "src/lib.rs"
    }

    /// Returns the top-level module that contains the file.
    pub(super) fn top_module(&self) -> &str {
        top_module(&self.name)
    }

    fn new(name: &str, tokens: &[Token]) -> Self {
        let mut file = Self {
            name: name.to_owned(),
            uses: Vec::new(),
            paths: Vec::new(),
            defined: HashSet::new(),
            words: HashSet::new(),
        };
        let mut at = 0;
        while at < tokens.len() {
            let starts_path = !matches!(at.checked_sub(1).map(|before| &tokens[before]), Some(Token::Separator));
            match &tokens[at] {
                // Not the captures of `impl Trait + use<'_>`.
                Token::Word(word) if word == "use" && tokens[at + 1] != Token::Other('<') => {
                    // `pub use`, `pub(crate) use`
                    let is_public = at > 0 && (tokens[at - 1].is("pub") || tokens[at - 1] == Token::Other(')'));
                    at += 1;
                    file.read_use_tree(tokens, &mut at, &[], is_public);
                }
                Token::Word(word) if word == "mod" => at += 1,
                Token::Word(word) if DEFINING.contains(&word.as_str()) => {
                    if let Some(Token::Word(name)) = tokens.get(at + 1) {
                        file.defined.insert(name.clone());
                        at += 1;
                    }
                }
                Token::Word(_) if starts_path => {
                    let path = path_at(tokens, &mut at);
                    file.words.insert(path[0].clone());
                    if path.len() > 1 {
                        file.paths.push(path);
                    }
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        file
    }

    /// Reads `a::{b, c as d, e::*}` up to the next comma, brace or semicolon.
    fn read_use_tree(&mut self, tokens: &[Token], at: &mut usize, prefix: &[String], is_public: bool) {
        let path = [prefix, &path_at(tokens, at)[..]].concat();
        match &tokens[*at] {
            Token::Other('{') => {
                while tokens[*at] != Token::Other('}') {
                    *at += 1;
                    self.read_use_tree(tokens, at, &path, is_public);
                }
                *at += 1;
            }
            Token::Other('*') => {
                *at += 1;
                self.uses.push(Use { path, alias: "*".to_owned(), is_public });
            }
            _ if path.len() > prefix.len() => {
                let path = path.strip_suffix(&["self".to_owned()]).map_or(path.clone(), <[String]>::to_vec);
                let mut alias = path.last().cloned().unwrap_or_default();
                if tokens[*at].is("as")
                    && let Some(Token::Word(name)) = tokens.get(*at + 1)
                {
                    alias.clone_from(name);
                    *at += 2;
                }
                self.uses.push(Use { path, alias, is_public });
            }
            _ => {}
        }
    }
}

/// Returns the top-level module of a file of this name.
pub(super) fn top_module(name: &str) -> &str {
    name.trim_start_matches("src/").split('/').next().unwrap().trim_end_matches(".rs")
}

/// Keywords before the name of an item.
const DEFINING: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Separator,
    Other(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }
}

/// Reads a path such as `a::b::` and moves behind it.
fn path_at(tokens: &[Token], at: &mut usize) -> Vec<String> {
    let mut path = Vec::new();
    while let Some(Token::Word(word)) = tokens.get(*at) {
        path.push(word.clone());
        *at += 1;
        if tokens.get(*at) != Some(&Token::Separator) {
            break;
        }
        *at += 1;
    }
    path
}

/// Returns `["stats", "collect"]` for `src/stats/collect.rs`.
fn module_path(name: &str) -> Vec<String> {
    let path = name.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod");
    if matches!(path, "lib" | "mod") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Splits code into identifiers and signs. Of literals, only strings that are paths (in attributes of serde) are kept.
fn tokenize(text: &str) -> Vec<Token> {
    let text: Vec<char> = text.chars().collect();
    let find = |from: usize, end: &str| {
        let end: Vec<char> = end.chars().collect();
        (from..text.len()).find(|at| text[*at..].starts_with(&end)).map_or(text.len(), |at| at + end.len())
    };
    let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let next = text.get(at + 1).copied().unwrap_or(' ');
        match text[at] {
            '/' if next == '/' => at = find(at, "\n"),
            '/' if next == '*' => at = find(at, "*/"),
            'r' if next == '"' || next == '#' && matches!(text.get(at + 2), Some('"' | '#')) => {
                let hashes = text[at + 1..].iter().take_while(|sign| **sign == '#').count();
                at = find(at + hashes + 2, &format!("\"{}", "#".repeat(hashes)));
            }
            '"' => {
                let mut end = at + 1;
                while end < text.len() && text[end] != '"' {
                    end += if text[end] == '\\' { 2 } else { 1 };
                }
                let content: String = text[at + 1..end.min(text.len())].iter().collect();
                if content.contains("::") && content.chars().all(|sign| is_word(sign) || sign == ':') {
                    tokens.push(Token::Other('"'));
                    tokens.extend(tokenize(&content));
                }
                tokens.push(Token::Other('"'));
                at = end + 1;
            }
            // A character literal, not a lifetime.
            '\'' if next == '\\' => at = find(at + 3, "'"),
            '\'' if text.get(at + 2) == Some(&'\'') => at += 3,
            sign if is_word(sign) => {
                let end = (at..text.len()).find(|at| !is_word(text[*at])).unwrap_or(text.len());
                tokens.push(Token::Word(text[at..end].iter().collect()));
                at = end;
            }
            ':' if next == ':' => {
                tokens.push(Token::Separator);
                at += 2;
            }
            sign => {
                if !sign.is_whitespace() {
                    tokens.push(Token::Other(sign));
                }
                at += 1;
            }
        }
    }
    tokens
}

/// Removes items that are compiled for tests only. Returns the rest, and the names of removed modules in files of their own.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let attribute = tokenize("#[cfg(test)]");
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..].starts_with(&attribute) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let item = &tokens[at + attribute.len()..];
        let item = &item[..item_length(item)];
        if let Some(place) = item.iter().position(|token| token.is("mod"))
            && let [Token::Word(name), Token::Other(';')] = &item[place + 1..]
        {
            modules.push(name.clone());
        }
        at += attribute.len() + item.len();
    }
    (kept, modules)
}

/// Returns the number of tokens of the item, field or match arm at the start.
fn item_length(tokens: &[Token]) -> usize {
    let is_keyword = |token: &Token| ["mod", "use", "impl"].iter().chain(&DEFINING).any(|word| token.is(word));
    // The commas of an item are no end of it, and neither are the braces of an import.
    let keyword = tokens.iter().take(8).find(|token| is_keyword(token));
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Other('{' | '(' | '[') => depth += 1,
            Token::Other('}' | ')' | ']') if depth == 0 => return at,
            Token::Other(sign @ ('}' | ')' | ']')) => {
                depth -= 1;
                if depth == 0 && *sign == '}' && !keyword.is_some_and(|keyword| keyword.is("use")) {
                    return at + 1;
                }
            }
            Token::Other(';') if depth == 0 => return at + 1,
            Token::Other(',') if depth == 0 && keyword.is_none() => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
