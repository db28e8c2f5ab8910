/*
 * The engine could be a package of its own tomorrow: it needs Node and itself, tells what each of its parts is for, and
 * does nothing when it is only imported. The rules of .dependency-cruiser.json say the first of that; here they are
 * seen to bite, since a rule that matches nothing is kept by everybody.
 */
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { cruise, type ICruiseResult, type IForbiddenRuleType } from 'dependency-cruiser';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../support/temporary.js';

const project = resolve(import.meta.dirname, '../..');
const engine = join(project, 'src/ftp');

async function sources(): Promise<readonly { readonly path: string; readonly file: ts.SourceFile }[]> {
  const names = await readdir(engine, { recursive: true });
  const paths = names.filter((name) => name.endsWith('.ts')).map((name) => join(engine, name));
  return Promise.all(
    paths.map(async (path) => ({
      path,
      file: ts.createSourceFile(path, await readFile(path, 'utf8'), ts.ScriptTarget.ES2023, true),
    })),
  );
}

function importsOf(file: ts.SourceFile): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined)
      found.push(node.moduleSpecifier.getText(file).slice(1, -1));
    if (ts.isImportTypeNode(node)) found.push(node.argument.getText(file).slice(1, -1));
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      found.push(node.arguments[0]?.getText(file).slice(1, -1) ?? '');
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

describe('src/ftp', () => {
  test('imports Node and itself, types included, and nothing else', async () => {
    const all = await sources();
    expect(all.length).toBeGreaterThan(20);
    let count = 0;
    for (const { path, file } of all) {
      for (const specifier of importsOf(file)) {
        count += 1;
        if (specifier.startsWith('node:')) {
          expect(isBuiltin(specifier), specifier).toBe(true);
          continue;
        }
        const target = resolve(dirname(path), specifier);
        expect(
          specifier.startsWith('.') && target.startsWith(`${engine}/`),
          `${relative(project, path)} imports ${specifier}`,
        ).toBe(true);
      }
    }
    expect(count).toBeGreaterThan(60);
  });

  test('everything that it shows says what it is for', async () => {
    const silent: string[] = [];
    for (const { path, file } of await sources()) {
      const note = (node: ts.Node, name: string): void => {
        if (ts.getJSDocCommentsAndTags(node).length > 0) return;
        const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
        silent.push(`${relative(project, path)}:${line + 1} ${name}`);
      };
      const [first] = ts.getLeadingCommentRanges(file.text, 0) ?? [];
      const opening = first === undefined ? '' : file.text.slice(first.pos, first.end);
      const lines = opening.split('\n').length - 2;
      if (!opening.startsWith('/*') || lines < 1)
        silent.push(`${relative(project, path)} opens without words`);
      for (const statement of file.statements) {
        const shown =
          ts.canHaveModifiers(statement) &&
          ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;
        if (!shown) continue;
        if (ts.isClassDeclaration(statement)) {
          // What inherits is told by its parent.
          if (statement.heritageClauses === undefined) note(statement, statement.name?.text ?? 'class');
          for (const member of statement.members) {
            if (isShown(member)) note(member, `${statement.name?.text}.${member.name.getText(file)}`);
          }
        } else if (ts.isFunctionDeclaration(statement)) note(statement, statement.name?.text ?? 'function');
        else if (ts.isVariableStatement(statement)) note(statement, 'const');
        else if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement))
          note(statement, statement.name.text);
      }
    }
    expect(silent).toEqual([]);
  });
});

function isShown(member: ts.ClassElement): member is ts.MethodDeclaration | ts.GetAccessorDeclaration {
  if (!ts.isMethodDeclaration(member) && !ts.isGetAccessorDeclaration(member)) return false;
  if (ts.isPrivateIdentifier(member.name)) return false;
  const hidden = [ts.SyntaxKind.PrivateKeyword, ts.SyntaxKind.OverrideKeyword];
  return ts.getModifiers(member)?.some(({ kind }) => hidden.includes(kind)) !== true;
}

describe('the import rules', () => {
  /** What the rules say of a file with one import, in a tree that looks like this one. */
  async function broken(importLine: string, folder = 'ftp'): Promise<string[]> {
    await using directory = await temporaryDirectory('rules');
    const files: Readonly<Record<string, string>> = {
      [`src/${folder}/odd.ts`]: `${importLine}\nexport const odd = 1;\n`,
      'src/sftp/errors.ts': 'export const errors = 1;\n',
      'src/sftp/window.ts': 'export const window = 1;\n',
      'src/ftp/reply.ts': 'export interface Reply { code: number }\nexport const reply = 1;\n',
      'src/plan/entry.ts': 'export interface Entry { path: string }\nexport const entry = 1;\n',
      'test/support/help.ts': 'export const help = 1;\n',
      'package.json': JSON.stringify({ type: 'module', dependencies: { ajv: '*' }, devDependencies: {} }),
      'tsconfig.json': await readFile(join(project, 'tsconfig.json'), 'utf8'),
    };
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(directory.join(name)), { recursive: true });
      await writeFile(directory.join(name), text);
    }
    await symlink(join(project, 'node_modules'), directory.join('node_modules'));
    const rules = JSON.parse(await readFile(join(project, '.dependency-cruiser.json'), 'utf8')) as {
      readonly forbidden: IForbiddenRuleType[];
    };
    const { output } = await cruise(
      [`src/${folder}`],
      {
        baseDir: directory.path,
        validate: true,
        ruleSet: { forbidden: rules.forbidden },
        tsPreCompilationDeps: true,
        parser: 'tsc',
        doNotFollow: { path: 'node_modules' },
      },
      { extensions: ['.ts', '.js'], exportsFields: ['exports'], conditionNames: ['import', 'node', 'types'] },
    );
    return (output as ICruiseResult).summary.violations.map(({ rule }) => rule.name);
  }

  test.each<[line: string, rule: string | undefined]>([
    ["import { reply } from './reply.js';", undefined],
    ["import type { Reply } from './reply.js';", undefined],
    ["import net from 'node:net';", undefined],
    ["import type net from 'node:net';", undefined],
    ["import { entry } from '../plan/entry.js';", 'plan-ftp-sftp-program-stand-alone'],
    ["import type { Entry } from '../plan/entry.js';", 'plan-ftp-sftp-program-stand-alone'],
    ["import { help } from '../../test/support/help.js';", 'ftp-needs-only-itself'],
    ["import { Ajv } from 'ajv';", 'ftp-needs-only-node'],
    ["import type { Ajv } from 'ajv';", 'ftp-needs-only-node'],
    ["import ts from 'typescript';", 'ftp-needs-only-node'],
  ])('%s', async (line, rule) => {
    const found = await broken(line);
    if (rule === undefined) expect(found).toEqual([]);
    else expect(found).toContain(rule);
  });

  test.each<[folder: string, line: string, rule: string | undefined]>([
    ['sftp', "import { errors } from './errors.js';", undefined],
    ['sftp', "import net from 'node:net';", undefined],
    ['sftp', "import { reply } from '../ftp/reply.js';", 'plan-ftp-sftp-program-stand-alone'],
    ['sftp', "import ssh2 from 'ssh2';", 'one-importer-ssh2'],
    ['sftp', "import type { Client } from 'ssh2';", 'one-importer-ssh2'],
    ['sftp', "import { Ajv } from 'ajv';", 'sftp-needs-only-node-and-ssh2'],
    ['remote', "import { errors } from '../sftp/errors.js';", undefined],
    ['remote', "import { window } from '../sftp/window.js';", 'sftp-shows-client-errors-and-trust'],
    ['remote', "import ssh2 from 'ssh2';", 'one-importer-ssh2'],
    ['run', "import { errors } from '../sftp/errors.js';", 'sftp-serves-remote-and-trust'],
    ['cli', "import { errors } from '../sftp/errors.js';", 'sftp-serves-remote-and-trust'],
  ])('%s: %s', async (folder, line, rule) => {
    const found = await broken(line, folder);
    if (rule === undefined) expect(found).toEqual([]);
    else expect(found).toContain(rule);
  });
});
