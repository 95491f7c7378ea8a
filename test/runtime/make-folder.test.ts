import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { makeFolder } from '../../runtime/make-folder.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-folder-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

test('a folder is made with those above it, once', () => {
  const path = join(root, 'a', 'b', 'c')
  makeFolder(path)
  makeFolder(path)
  assert.ok(statSync(path).isDirectory())
})

test('a file in the way is told', () => {
  const file = join(root, 'file')
  writeFileSync(file, '')
  assert.throws(() => makeFolder(file), /EEXIST/)
  assert.throws(() => makeFolder(join(file, 'a', 'b')), /EEXIST|ENOTDIR/)
})

// The file system of processes has no folders of others; elsewhere the path may be made.
if (existsSync('/proc/self')) {
  test('what a file system refuses as missing is told, not tried forever', () => {
    assert.throws(() => makeFolder('/proc/quattuor/cache'), /ENOENT/)
  })
} else console.log('skipped: a folder in /proc, because there is no /proc here')

test.run()
