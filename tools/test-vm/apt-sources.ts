/**
 * The Debian archive this machine uses, read from its own apt configuration (sources.list(5)),
 * so that no mirror's address has to stand in this repository.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One `deb` entry. `options` are deb822 fields with canonical names (`Signed-By`, `Trusted`). */
export interface AptSource {
  uri: string;
  suites: string[];
  components: string[];
  options: Record<string, string>;
}

const DEBIAN_SUITE =
  /^(?:buster|bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)$/;

/** The one-line format of `.list` files. */
export function parseOneLine(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) continue;
    const [, options = '', uri = '', suite = '', components = ''] = match;
    const pairs = words(options).map((word) => word.split(/=(.*)/s));
    sources.push({
      uri,
      suites: [suite],
      components: words(components),
      options: Object.fromEntries(pairs.map(([name = '', value = '']) => [canonical(name), value])),
    });
  }
  return sources;
}

/** The deb822 format of `.sources` files: paragraphs of `Field: value`, folded lines indented. */
export function parseDeb822(text: string): AptSource[] {
  const withoutComments = text.replaceAll(/^#.*\n?/gm, '');
  return withoutComments.split(/\n\s*\n/).flatMap((paragraph) => {
    const fields: Record<string, string> = {};
    for (const [, name = '', value = ''] of paragraph.matchAll(
      /^([\w-]+):((?:.*)(?:\n[ \t].*)*)/gm,
    )) {
      fields[canonical(name)] = value.trim();
    }
    const {
      Types = '',
      URIs = '',
      Suites = '',
      Components = '',
      Enabled = 'yes',
      ...options
    } = fields;
    if (!words(Types).includes('deb') || /^(?:no|false|0|off)$/i.test(Enabled)) return [];
    return words(URIs).map((uri) => ({
      uri,
      suites: words(Suites),
      components: words(Components),
      options,
    }));
  });
}

/** The entry for Debian's own archive: a Debian suite by name, with component `main`. */
export function findDebian(sources: AptSource[]): AptSource | undefined {
  return sources.find(
    ({ suites, components }) =>
      components.includes('main') && suites.some((s) => DEBIAN_SUITE.test(s)),
  );
}

/** A deb822 paragraph that takes `suite` from the same archive, trusted by the same key. */
export function sourceFor(suite: string, source: AptSource): string {
  const trust = ['Signed-By', 'Trusted'].flatMap((name) => {
    const value = source.options[name];
    return value === undefined ? [] : [`${name}: ${value}`];
  });
  const fields = [
    'Types: deb',
    `URIs: ${source.uri}`,
    `Suites: ${suite}`,
    'Components: main',
    ...trust,
  ];
  return `${fields.join('\n')}\n`;
}

/** Every entry of this machine, in apt's order. `etc` is `/etc/apt`. */
export async function readSources(etc = '/etc/apt'): Promise<AptSource[]> {
  const parts = join(etc, 'sources.list.d');
  const names = await readdir(parts).catch(() => []);
  const files = [join(etc, 'sources.list'), ...names.sort().map((name) => join(parts, name))];
  const parsed = files.map(async (file) => {
    if (file.endsWith('.list')) return parseOneLine(await text(file));
    if (file.endsWith('.sources')) return parseDeb822(await text(file));
    return [];
  });
  return (await Promise.all(parsed)).flat();
}

const text = (file: string) => readFile(file, 'utf8').catch(() => '');
const words = (value: string) => value.split(/\s+/).filter(Boolean);

const FIELDS = ['Types', 'URIs', 'Suites', 'Components', 'Enabled', 'Signed-By', 'Trusted'];
/** Field names are case-insensitive; the one-line format writes them in lower case. */
function canonical(name: string): string {
  return FIELDS.find((field) => field.toLowerCase() === name.toLowerCase()) ?? name;
}
