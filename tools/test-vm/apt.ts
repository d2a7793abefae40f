/** One suite of Debian's archive, through the ordinary apt client with folders of its own. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findDebian, readSources, sourceFor } from './apt-sources.js';
import { VmError } from './errors.js';
import { run } from './process.js';

/** What `apt-cache show` says of one version of a package. */
export interface AptPackage {
  name: string;
  version: string;
  depends: { name: string; version: string | undefined }[];
}

const ATTEMPTS = 3;

export class AptSuite {
  readonly #folder: string;
  readonly #options: string[];
  readonly #signal: AbortSignal | undefined;

  private constructor(folder: string, signal: AbortSignal | undefined) {
    this.#folder = folder;
    this.#signal = signal;
    const settings = {
      'Dir::Etc::SourceList': join(folder, 'suite.sources'),
      'Dir::Etc::SourceParts': '/dev/null',
      'Dir::Etc::Preferences': '/dev/null',
      'Dir::Etc::PreferencesParts': '/dev/null',
      'Dir::State::Lists': join(folder, 'lists'),
      // Nothing counts as installed: the answer must not depend on this machine.
      'Dir::State::Status': '/dev/null',
      'Dir::Cache': join(folder, 'cache'),
      'Acquire::Languages': 'none',
      // Our folders may be unreadable for apt's own user, of which it would warn.
      'APT::Sandbox::User': 'root',
      'APT::Architecture': 'amd64',
    };
    this.#options = Object.entries(settings).map(([name, value]) => `-o${name}=${value}`);
  }

  /** Reads the suite's index into `folder`, which is the caller's to remove. */
  static async open(suite: string, folder: string, signal?: AbortSignal): Promise<AptSuite> {
    const debian = findDebian(await readSources());
    if (debian === undefined) {
      throw new VmError(
        'Debian’s test kernels need a Debian machine with apt and dpkg; elsewhere pass --kernel PATH',
      );
    }
    const apt = new AptSuite(folder, signal);
    await mkdir(join(folder, 'lists/partial'), { recursive: true });
    await mkdir(join(folder, 'cache/archives/partial'), { recursive: true });
    await writeFile(join(folder, 'suite.sources'), sourceFor(suite, debian));
    await apt.#retry(() => apt.#apt('apt-get', 'update'));
    return apt;
  }

  /** The newest version of `name`, or the one given. */
  async show(name: string, version?: string): Promise<AptPackage> {
    const spec = version === undefined ? name : `${name}=${version}`;
    return parseShow((await this.#apt('apt-cache', 'show', '--no-all-versions', spec)).toString());
  }

  /** Downloads the packages and unpacks them into `root`. */
  async unpack(packages: AptPackage[], root: string): Promise<void> {
    const debs = join(this.#folder, 'debs');
    await mkdir(debs);
    const specs = packages.map(({ name, version }) => `${name}=${version}`);
    await this.#retry(() =>
      run('apt-get', [...this.#options, 'download', ...specs], this.#in(debs)),
    );
    for (const deb of await readdir(debs)) await run('dpkg', ['-x', deb, root], this.#in(debs));
  }

  #apt(tool: string, ...args: string[]): Promise<Buffer> {
    return run(tool, [...this.#options, ...args], { signal: this.#signal });
  }

  #in(cwd: string) {
    return { cwd, signal: this.#signal };
  }

  async #retry(action: () => Promise<unknown>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await action();
        return;
      } catch (error) {
        if (attempt === ATTEMPTS || this.#signal?.aborted) throw error;
      }
    }
  }
}

/** The first paragraph of `apt-cache show`. */
export function parseShow(text: string): AptPackage {
  const [paragraph = ''] = text.split('\n\n');
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(paragraph)?.[1] ?? '';
  const depends = field('Depends')
    .split(',')
    .flatMap((entry) => {
      const match = /^\s*(\S+)(?: \(= ([^)]+)\))?/.exec(entry);
      return match?.[1] === undefined ? [] : [{ name: match[1], version: match[2] }];
    });
  return { name: field('Package'), version: field('Version'), depends };
}
