/** Finds and loads the addon. */
import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { StateError } from './errors.js';

/** Where the package's folder is, from `lib/` and from `dist/lib/`. */
const PACKAGE_FOLDERS = ['..', '../..'];
/** What a build here leaves comes before what the package brings. */
const BUILT = 'build/Release/vhost_net.node';
const PREBUILT = `prebuilds/linux-${process.arch}/vhost_net.node`;

const BUILD_HINT =
  'build it with a C++ compiler, make and python3: npm install && npm run build:native in the package folder';

/** The addon, as it was built here or came with the package. Throws `ERR_UNSUPPORTED_PLATFORM`, `ERR_ADDON_NOT_FOUND`. */
export function loadAddon(): unknown {
  if (process.platform !== 'linux') {
    throw new StateError(
      'ERR_UNSUPPORTED_PLATFORM',
      `vhost-net drives Linux's /dev/vhost-net and cannot be loaded on ${process.platform}`,
    );
  }
  // Rings and headers are read as they lie in memory, little-endian.
  if (endianness() !== 'LE') {
    throw new StateError(
      'ERR_UNSUPPORTED_PLATFORM',
      `vhost-net reads rings in little-endian order and cannot be loaded on ${process.arch}`,
    );
  }
  const require = createRequire(import.meta.url);
  for (const addon of [BUILT, PREBUILT]) {
    for (const folder of PACKAGE_FOLDERS) {
      try {
        return require(`${folder}/${addon}`);
      } catch (error) {
        // A file that is there and does not load is the real news.
        if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND')
          throw explained(error, addon);
      }
    }
  }
  throw new StateError(
    'ERR_ADDON_NOT_FOUND',
    `vhost-net has no native addon for ${process.arch} here`,
    BUILD_HINT,
  );
}

/** The loader's own error, with what may be wrong about a binary that was made elsewhere. */
function explained(error: unknown, addon: string): unknown {
  if (addon !== PREBUILT || !(error instanceof Error)) return error;
  const needs = 'the prebuilt addon needs glibc 2.28 or newer, and does not run on musl';
  return Object.assign(error, { hint: `${needs}; ${BUILD_HINT}` });
}
