//! Files that import each other, directly or by way of others: none may, save the few that are listed.
//!
//! An import counts for the file that defines what is imported: a re-export leads on. A module and those inside it are one
//! thing: that the outer one declares the inner, or the inner takes something from the outer, is no import.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{Source, sources};
use crate::text::tokens;

/// Files that may import each other, and why. Whoever parts them deletes their line.
const ALLOWED: &[(&[&str], &str)] = &[
    (
        &["output/page/collector.rs", "output/page/message.rs", "output/page/state.rs"],
        "what the page holds, what fills it and what it sends are one thing in three files",
    ),
    (
        &["pipeline/flow/connection.rs", "pipeline/flow/slots.rs"],
        "slots are a table of connections, which know the list they are on",
    ),
];

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let sources = sources();
    let graph = Graph::new(&sources);
    let mut faults = Vec::new();
    let gone = ALLOWED.iter().map(|(files, _)| files.iter().copied().collect::<BTreeSet<_>>());
    let mut gone = gone.collect::<BTreeSet<_>>();
    for cycle in cycles(&graph.edges) {
        let names = cycle.iter().map(|at| graph.name(*at)).collect::<BTreeSet<_>>();
        if gone.remove(&names) {
            continue;
        }
        let inside = graph.reasons.iter().filter(|((from, to), _)| cycle.contains(from) && cycle.contains(to));
        let edges = inside.map(|((from, to), what)| {
            let what = what.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("  {} imports {}: {what}", graph.name(*from), graph.name(*to))
        });
        faults.push(edges.collect::<Vec<_>>().join("\n"));
    }
    assert!(faults.is_empty(), "{} cycles of files:\n{}", faults.len(), faults.join("\n\n"));
    assert!(gone.is_empty(), "no cycles any more: {gone:#?}");
}

#[test]
fn no_module_names_itself_by_way_of_others() {
    let sources = sources();
    let graph = Graph::new(&sources);
    let modules = sources.iter().map(|source| source.module.as_str()).collect::<Vec<_>>();
    let names = modules.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let place = |module: &str| names.iter().position(|name| *name == module).unwrap();
    let mut edges = vec![BTreeSet::new(); names.len()];
    for (from, to) in graph.reasons.keys() {
        edges[place(modules[*from])].insert(place(modules[*to]));
    }
    let found = cycles(&edges).concat().into_iter().map(|at| names[at]).collect::<Vec<_>>();
    assert!(found.is_empty(), "modules that name each other: {found:?}");
}

#[test]
fn cycles_are_found() {
    let source = |path: &str, code: &str| Source::new(path.into(), code);
    let sources = [
        source("lib.rs", "pub mod a; pub mod d;"),
        source("a/mod.rs", "mod b; mod c; pub use b::B; pub use c::C;"),
        source("a/b.rs", "use super::C; pub struct B(C);"),
        source("a/c.rs", "pub struct C; fn c() { crate::a::B::new(); }"),
        source("d.rs", "use crate::a; fn d() { a::B::new(); }"),
    ];
    let graph = Graph::new(&sources);
    let names = |cycle: Vec<usize>| cycle.into_iter().map(|at| graph.name(at).to_owned()).collect::<Vec<_>>();
    assert_eq!(cycles(&graph.edges).into_iter().map(names).collect::<Vec<_>>(), [["a/b.rs", "a/c.rs"]]);
    assert_eq!(graph.edges[4], BTreeSet::from([2]), "a module is no import, what is taken from it is");
}

/// `use PATH as NAME`: the path from the root of the crate, or `None` if it leads out of it.
struct Import {
    name: String,
    path: Vec<String>,
    public: bool,
}

struct File {
    name: String,
    module: Vec<String>,
    imports: Vec<Import>,
    defines: BTreeSet<String>,
    /// Paths in the code, `use` left out.
    paths: Vec<Vec<String>>,
    words: BTreeSet<String>,
}

struct Graph {
    files: Vec<File>,
    /// Files by module path.
    modules: BTreeMap<Vec<String>, usize>,
    edges: Vec<BTreeSet<usize>>,
    reasons: BTreeMap<(usize, usize), BTreeSet<String>>,
}

impl Graph {
    fn new(sources: &[Source]) -> Self {
        let modules = sources.iter().enumerate().map(|(at, source)| (source.module(), at)).collect::<BTreeMap<_, _>>();
        let files = sources.iter().map(|source| file(source, &modules)).collect::<Vec<_>>();
        let edges = vec![BTreeSet::new(); files.len()];
        let mut graph = Self { files, modules, edges, reasons: BTreeMap::new() };
        for at in 0..graph.files.len() {
            let found = graph.imports_of(at);
            for (to, what) in found {
                if graph.encloses(to, at) {
                    continue;
                }
                graph.edges[at].insert(to);
                graph.reasons.entry((at, to)).or_default().insert(what);
            }
        }
        graph
    }

    fn name(&self, at: usize) -> &str {
        &self.files[at].name
    }

    /// Whether `inner` is the module at `outer`, or a part of it.
    fn encloses(&self, outer: usize, inner: usize) -> bool {
        self.files[inner].module.starts_with(&self.files[outer].module)
    }

    /// Every file that the one at `at` takes something from, and what.
    fn imports_of(&self, at: usize) -> Vec<(usize, String)> {
        let file = &self.files[at];
        let mut found = Vec::new();
        for path in &file.paths {
            found.extend(self.defining(path, 0).map(|to| (to, path.join("::"))));
        }
        for import in &file.imports {
            if import.name == "*" {
                let Some(from) = self.modules.get(&import.path) else { continue };
                for word in &file.words {
                    found.extend(self.in_module(*from, word, 0).map(|to| (to, word.clone())));
                }
            } else if !self.modules.contains_key(&import.path) && (!import.public || file.words.contains(&import.name))
            {
                found.extend(self.defining(&import.path, 0).map(|to| (to, import.path.join("::"))));
            }
        }
        found
    }

    /// The file that defines what `path` names, re-exports followed; a module alone is defined nowhere.
    fn defining(&self, path: &[String], depth: usize) -> Option<usize> {
        let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let module = self.modules[&path[..length]];
        let name = path.get(length)?;
        self.in_module(module, name, depth).or(Some(module))
    }

    /// The file that defines what the file at `module` knows as `name`.
    fn in_module(&self, module: usize, name: &str, depth: usize) -> Option<usize> {
        let file = &self.files[module];
        if file.defines.contains(name) {
            return Some(module);
        }
        if depth > 8 {
            return None;
        }
        if let Some(import) = file.imports.iter().find(|import| import.name == name) {
            return self.defining(&import.path, depth + 1);
        }
        let globs = file.imports.iter().filter(|import| import.name == "*");
        let mut modules = globs.filter_map(|import| self.modules.get(&import.path));
        modules.find_map(|module| self.in_module(*module, name, depth + 1))
    }
}

/// Sets of places that reach each other, by Tarjan's algorithm.
fn cycles(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let order = vec![None; edges.len()];
    let mut search = Search { edges, order, low: vec![0; edges.len()], stack: Vec::new(), next: 0, found: Vec::new() };
    for at in 0..edges.len() {
        if search.order[at].is_none() {
            search.visit(at);
        }
    }
    search.found.iter_mut().for_each(|cycle| cycle.sort_unstable());
    search.found.sort_unstable();
    search.found
}

struct Search<'a> {
    edges: &'a [BTreeSet<usize>],
    order: Vec<Option<usize>>,
    low: Vec<usize>,
    stack: Vec<usize>,
    next: usize,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn visit(&mut self, at: usize) {
        self.order[at] = Some(self.next);
        self.low[at] = self.next;
        self.next += 1;
        self.stack.push(at);
        for to in &self.edges[at] {
            match self.order[*to] {
                None => {
                    self.visit(*to);
                    self.low[at] = self.low[at].min(self.low[*to]);
                }
                Some(order) if self.stack.contains(to) => self.low[at] = self.low[at].min(order),
                Some(_) => {}
            }
        }
        if self.order[at] == Some(self.low[at]) {
            let start = self.stack.iter().position(|other| *other == at).unwrap();
            let component = self.stack.split_off(start);
            if component.len() > 1 {
                self.found.push(component);
            }
        }
    }
}

fn file(source: &Source, modules: &BTreeMap<Vec<String>, usize>) -> File {
    let module = source.module();
    let tokens = tokens(&source.code);
    let (mut imports, mut paths, mut defines, mut words) = (Vec::new(), Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].as_str();
        let next = tokens.get(at + 1).map_or("", String::as_str);
        if token == "use" && !next.is_empty() && next != "<" {
            let public = at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
            let mut leaves = Vec::new();
            at = leaf(&tokens, at + 1, &[], &mut leaves);
            for (path, name) in leaves {
                if let Some(path) = absolute(&path, &module, modules, &[]) {
                    imports.push(Import { name, path, public });
                }
            }
            continue;
        }
        if matches!(token, "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "macro_rules") {
            let name = if next == "!" { at + 2 } else { at + 1 };
            defines.extend(tokens.get(name).cloned());
        }
        // `words! { Name { … } }` and its like define a type.
        if token == "words" && next == "!" {
            defines.extend(tokens.get(at + 3).cloned());
        }
        let begins = is_word(token) && (at == 0 || tokens[at - 1] != "::") && next == "::";
        if begins {
            let mut path = vec![token.to_owned()];
            while tokens.get(at + 1).is_some_and(|token| token == "::")
                && tokens.get(at + 2).is_some_and(|t| is_word(t))
            {
                path.push(tokens[at + 2].clone());
                at += 2;
            }
            paths.push(path);
        } else if is_word(token) {
            words.insert(token.to_owned());
        }
        at += 1;
    }
    words.extend(paths.iter().map(|path| path[0].clone()));
    let paths = paths.iter().filter_map(|path| absolute(path, &module, modules, &imports)).collect();
    File { name: source.path.to_string_lossy().into_owned(), module, imports, defines, paths, words }
}

/// The path from the root of the crate; `imports` are those that its first name may be one of.
fn absolute(
    path: &[String],
    module: &[String],
    modules: &BTreeMap<Vec<String>, usize>,
    imports: &[Import],
) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" | "mailtap" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let depth = path.iter().take_while(|name| *name == "super").count();
            Some([&module[..module.len().saturating_sub(depth)], &path[depth..]].concat())
        }
        _ if modules.contains_key(&[module, &path[..1]].concat()) => Some([module, path].concat()),
        _ => imports.iter().find(|import| import.name == *first).map(|import| [&import.path, rest].concat()),
    }
}

/// Reads the use-tree at `at`; gives the place behind it, and each path with the name that it binds.
fn leaf(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<(Vec<String>, String)>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at).map(String::as_str) {
        match token {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = if tokens[at] == "," { at + 1 } else { leaf(tokens, at, &path, found) };
                }
                return at + 1;
            }
            "*" => {
                found.push((path, "*".to_owned()));
                return at + 1;
            }
            "as" => {
                found.push((path, tokens.get(at + 1).cloned().unwrap_or_default()));
                return at + 2;
            }
            "self" if !path.is_empty() => at += 1,
            _ if is_word(token) => {
                path.push(token.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    found.push((path, name));
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}
