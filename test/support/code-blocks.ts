/** The programs in a page of docs/. */
import { textOf } from './sources.js';

export interface CodeBlock {
  /** The heading that it stands under, and which one of these it is. */
  title: string;
  source: string;
}

/** Every block of TypeScript in a Markdown file, in order. */
export function codeBlocks(file: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let heading = '';
  const pattern = /^#+ (.+)$|^```ts\n([\s\S]*?)^```$/gm;
  for (const [, title, source] of textOf(file).matchAll(pattern)) {
    if (title !== undefined) heading = title;
    if (source === undefined) continue;
    const before = blocks.filter((block) => block.title.startsWith(heading)).length;
    blocks.push({ title: before === 0 ? heading : `${heading} (${before + 1})`, source });
  }
  return blocks;
}
