#Requires -Version 5.1
<#
.SYNOPSIS
Installs the Tightbeam host agent on this PC, or upgrades it, and joins it to a node.

.DESCRIPTION
Runs tightbeam-agent-setup-VERSION.exe without a window and says in words how it went. Run it as an administrator.
The installer is the newest one beside this script, or what -Installer names. A download needs -Sha256, which is in
the release's SHA256SUMS or printed by `make installer`. Exit codes are the installer's: 0 installed and joined;
2 a former version's files are in use; 3 installed, but not joined or not running; 1 nothing was installed.

.PARAMETER Url
The node to join, https://node.example. Without it the program is installed and not joined.

.PARAMETER Token
The host token that `tightbeam token host --room ROOM` prints. Left out, TIGHTBEAM_HOST_TOKEN counts, or it is asked for;
either keeps it off the command line.

.PARAMETER Installer
A file, or an https address to load it from.

.PARAMETER Sha256
What the installer's SHA-256 must be. Needed for a download.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File install-agent.ps1 -Url https://node.example
#>
[CmdletBinding()]
param(
    [ValidatePattern('^https?://\S+$')] [string] $Url,
    [string] $Token = $env:TIGHTBEAM_HOST_TOKEN,
    [string] $Installer,
    [ValidatePattern('^[0-9A-Fa-f]{64}$')] [string] $Sha256
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'  # whose bar makes a download several times slower

$log = Join-Path $env:ProgramData 'Tightbeam\logs\install.log'
$command = Join-Path $env:ProgramFiles 'Tightbeam\tightbeam-agent.cmd'
$downloaded = $null

function Stop-Here([string] $Words) {
    [Console]::Error.WriteLine($Words)
    exit 1
}

$me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Stop-Here 'Run this as an administrator: right-click Windows PowerShell, "Run as administrator".'
}

if (-not $Installer) {
    $beside = Get-ChildItem -Path $PSScriptRoot -Filter 'tightbeam-agent-setup-*.exe' | Sort-Object LastWriteTime
    if (-not $beside) {
        Stop-Here "No tightbeam-agent-setup-VERSION.exe is in $PSScriptRoot. Put it there, or name it: -Installer FILE"
    }
    $Installer = @($beside)[-1].FullName
}
elseif ($Installer -match '^https://') {
    if (-not $Sha256) {
        Stop-Here 'A download needs -Sha256, so that nothing else is installed in its place.'
    }
    $downloaded = Join-Path ([IO.Path]::GetTempPath()) ("tightbeam-agent-setup-{0}.exe" -f [guid]::NewGuid())
    [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
    Write-Host "Loading $Installer ..."
    Invoke-WebRequest -UseBasicParsing -Uri $Installer -OutFile $downloaded -TimeoutSec 600
    $Installer = $downloaded
}
elseif (-not (Test-Path -LiteralPath $Installer -PathType Leaf)) {
    Stop-Here "There is no file $Installer."
}

$former = $env:TIGHTBEAM_HOST_TOKEN
try {
    if ($Sha256 -and (Get-FileHash -LiteralPath $Installer -Algorithm SHA256).Hash -ne $Sha256) {
        Stop-Here "$Installer is not the installer that was meant: its SHA-256 is another one."
    }
    $arguments = @('/S')
    if ($Url) {
        if (-not $Token) {
            $secret = Read-Host -AsSecureString "Host token for $Url"
            $Token = (New-Object Net.NetworkCredential('', $secret)).Password
        }
        $env:TIGHTBEAM_HOST_TOKEN = $Token
        $arguments += "/URL=$Url"
    }
    Write-Host "Installing $Installer ..."
    $code = (Start-Process -FilePath $Installer -ArgumentList $arguments -Wait -PassThru).ExitCode
}
finally {
    $env:TIGHTBEAM_HOST_TOKEN = $former
    if ($downloaded) {
        Remove-Item -LiteralPath $downloaded -Force -ErrorAction SilentlyContinue
    }
}

switch ($code) {
    0 { Write-Host "Installed. What works on this PC: `"$command`" doctor" }
    2 { Write-Warning 'The former version runs on: end what uses its files, then run this again.' }
    3 { Write-Warning 'Installed, but it does not join the node or its service does not run:' }
    default { Write-Warning "The installer ended with code $code." }
}
if ($code -ne 0 -and (Test-Path -LiteralPath $log)) {
    Get-Content -LiteralPath $log -Encoding Unicode -Tail 12
}
exit $code
