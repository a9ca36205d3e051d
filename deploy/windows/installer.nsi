Target amd64-unicode
; The installer of the host agent; built by deploy/windows/build.sh, which gives VERSION, PROGRAM, RESULT and SIZE_KIB.
;   /S              without a window
;   /URL=...        the node to join, tried at once; with the host token of /TOKEN=..., or of TIGHTBEAM_HOST_TOKEN
;   /D=...          another folder (last, as NSIS wants it)
; All of them have 1024 characters together; a longer token goes by the variable.
; Exit codes: 0 installed; 2 the former version does not stop or its files cannot be replaced; 3 installed, but the node
; was not reached or refused the token, or the service does not run. What was done is in
; %ProgramData%\Tightbeam\logs\install.log.
; The uninstaller keeps configuration, token and logs, unless it is given /PURGE.

Unicode true
ManifestDPIAware true
RequestExecutionLevel admin
SetCompressor /SOLID bzip2
!include FileFunc.nsh
!include LogicLib.nsh

Name "Tightbeam host agent"
OutFile "${RESULT}"
InstallDir "$PROGRAMFILES64\Tightbeam"
ShowInstDetails show
!ifdef SIGN
!finalize 'sh "${SIGN}" "%1"'
!uninstfinalize 'sh "${SIGN}" "%1"'
!endif

!define UNINSTALL "Software\Microsoft\Windows\CurrentVersion\Uninstall\TightbeamAgent"
; In it: that the folder of the configuration, which outlives an uninstall, is ours. Only administrators can write here.
!define OURS "Software\Tightbeam\Agent"
!define RULE "Tightbeam host agent"
!define SERVICE '"$INSTDIR\python\python.exe" -P -m agent.cli service'

Page directory
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

Var Folder ; %ProgramData%\Tightbeam
Var Failed

; Runs a command; what it printed goes to the window and the log, its exit code to $0. NAME and not the command line is shown:
; a command line may have what is nobody's business.
!macro Run NAME COMMAND
    nsExec::ExecToStack '${COMMAND}'
    Pop $0
    Pop $1
    !insertmacro Say "${NAME}: $1 ($0)"
!macroend
!define Run "!insertmacro Run"

!macro Say TEXT
    DetailPrint "${TEXT}"
    FileOpen $9 "$Folder\logs\install.log" a
    FileSeek $9 0 END
    FileWriteUTF16LE $9 "${TEXT}$\r$\n"
    FileClose $9
!macroend
!define Say "!insertmacro Say"

!macro Begin
    SetShellVarContext all
    SetRegView 64
    StrCpy $Folder "$APPDATA\Tightbeam"
!macroend

; Puts a folder aside that no installation of ours has made: any user may make one there, and keep its files open to himself.
!macro PutStrangersFolderAside
    ReadRegStr $0 HKLM "${UNINSTALL}" "UninstallString"
    ReadRegStr $1 HKLM "${OURS}" "Folder"
    ${If} "$0$1" == ""
    ${AndIf} ${FileExists} "$Folder"
        StrCpy $2 0
        ${Do}
            IntOp $2 $2 + 1
            ClearErrors
            Rename "$Folder" "$Folder.$2"
            ${IfNot} ${Errors}
                ${ExitDo}
            ${EndIf}
            ${If} $2 > 99
                DetailPrint "$Folder is not of an installation and cannot be renamed: remove it, then install again."
                SetErrorLevel 2
                Abort
            ${EndIf}
        ${Loop}
    ${EndIf}
!macroend

; Removes the program's files. The media process may have them for 8 s after the service's end. $0 is 1 when it cannot.
!macro RemoveProgram
    StrCpy $0 0
    StrCpy $2 0
    ${Do}
        RMDir /r "$INSTDIR\python"
        ${IfNot} ${FileExists} "$INSTDIR\python\*.*"
            ${ExitDo}
        ${EndIf}
        IntOp $2 $2 + 1
        ${If} $2 > 24
            StrCpy $0 1
            ${ExitDo}
        ${EndIf}
        Sleep 500
    ${Loop}
    RMDir /r "$INSTDIR\licences"
    Delete "$INSTDIR\tightbeam-agent.cmd"
!macroend

; The value of the option $R0 ("/URL=") in the parameters $3, to $R1, up to a blank; "" when it is not there. GetOptions ends a
; value at the first slash, which addresses have.
Function Option
    StrLen $R2 $R0
    StrCpy $R1 ""
    StrCpy $R3 0
    ${Do}
        StrCpy $R4 $3 $R2 $R3
        ${If} $R4 == ""
            Return
        ${EndIf}
        ${If} $R4 == $R0
            ${ExitDo}
        ${EndIf}
        IntOp $R3 $R3 + 1
    ${Loop}
    IntOp $R3 $R3 + $R2
    ${Do}
        StrCpy $R4 $3 1 $R3
        ${If} $R4 == ""
        ${OrIf} $R4 == " "
            ${ExitDo}
        ${EndIf}
        ${If} $R4 != '"'
            StrCpy $R1 "$R1$R4"
        ${EndIf}
        IntOp $R3 $R3 + 1
    ${Loop}
FunctionEnd

Section
    !insertmacro Begin
    !insertmacro PutStrangersFolderAside
    CreateDirectory "$Folder\logs"
    ; Before anything is in it: the system and administrators alone, whoever made the folder.
    ${Run} "access list: owner" '"$SYSDIR\icacls.exe" "$Folder" /setowner *S-1-5-32-544 /T /C /L'
    ${Run} "access list" '"$SYSDIR\icacls.exe" "$Folder" /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F'
    ${Run} "access lists within" '"$SYSDIR\icacls.exe" "$Folder\*" /reset /T /C /L'
    WriteRegStr HKLM "${OURS}" "Folder" "$Folder"

    ${If} ${FileExists} "$INSTDIR\tightbeam-agent.cmd" ; else a folder `python` there is somebody else's
        ${Run} "stop the former version" '${SERVICE} uninstall'
        !insertmacro RemoveProgram
        ${If} $0 != 0
            ${Say} "The former version's files are in use: end what runs from $INSTDIR, then install again."
            SetErrorLevel 2
            Abort
        ${EndIf}
    ${EndIf}

    SetOutPath "$INSTDIR"
    ClearErrors
    File /r "${PROGRAM}/*"
    ${If} ${Errors}
        ${Say} "The files cannot be written to $INSTDIR."
        SetErrorLevel 2
        Abort
    ${EndIf}
    WriteUninstaller "$INSTDIR\uninstall.exe"
    WriteRegStr HKLM "${UNINSTALL}" "DisplayName" "Tightbeam host agent"
    WriteRegStr HKLM "${UNINSTALL}" "DisplayVersion" "${VERSION}"
    WriteRegStr HKLM "${UNINSTALL}" "Publisher" "The Tightbeam authors"
    WriteRegStr HKLM "${UNINSTALL}" "InstallLocation" "$INSTDIR"
    WriteRegStr HKLM "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
    WriteRegStr HKLM "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
    WriteRegDWORD HKLM "${UNINSTALL}" "EstimatedSize" ${SIZE_KIB}
    WriteRegDWORD HKLM "${UNINSTALL}" "NoModify" 1
    WriteRegDWORD HKLM "${UNINSTALL}" "NoRepair" 1

    nsExec::Exec '"$SYSDIR\netsh.exe" advfirewall firewall delete rule name="${RULE}"'
    Pop $0
    ${Run} "firewall rule" '"$SYSDIR\netsh.exe" advfirewall firewall add rule name="${RULE}" dir=in action=allow protocol=udp program="$INSTDIR\python\python.exe"'
    ${If} $0 != 0
        ${Say} "There is no firewall rule: browsers in the same network may be slower to connect."
    ${EndIf}

    StrCpy $Failed 0
    ${GetParameters} $3
    StrCpy $R0 "/TOKEN="
    Call Option
    StrCpy $5 $R1
    StrCpy $R0 "/URL="
    Call Option
    StrCpy $4 $R1
    ${If} $4 != ""
        ${If} $5 != ""
            System::Call 'kernel32::SetEnvironmentVariable(t "TIGHTBEAM_HOST_TOKEN", t r5)'
        ${EndIf}
        ${Run} "enroll" '"$INSTDIR\python\python.exe" -P -m agent.cli enroll --url "$4"'
        ${If} $0 != 0
            StrCpy $Failed 1
        ${EndIf}
        System::Call 'kernel32::SetEnvironmentVariable(t "TIGHTBEAM_HOST_TOKEN", p 0)'
    ${EndIf}

    ${Run} "install the service" '${SERVICE} install'
    ${If} $0 != 0
        StrCpy $Failed 1
    ${ElseIf} ${FileExists} "$Folder\enrolment.json"
        ${Run} "start the service" '${SERVICE} start'
        ${If} $0 != 0
            StrCpy $Failed 1
        ${EndIf}
    ${Else}
        ${Say} "The service does not run yet. As administrator: tightbeam-agent enroll --url ADDRESS, then tightbeam-agent service start."
    ${EndIf}
    ${If} $Failed != 0
        SetErrorLevel 3
    ${EndIf}
SectionEnd

Section Uninstall
    !insertmacro Begin
    CreateDirectory "$Folder\logs"
    ${Run} "remove the service" '${SERVICE} uninstall'
    nsExec::Exec '"$SYSDIR\netsh.exe" advfirewall firewall delete rule name="${RULE}"'
    Pop $0
    !insertmacro RemoveProgram
    ${If} $0 != 0
        ${Say} "Files are in use: end what runs from $INSTDIR, then uninstall again."
        SetErrorLevel 2
        Abort
    ${EndIf}
    Delete "$INSTDIR\uninstall.exe"
    RMDir "$INSTDIR"
    DeleteRegKey HKLM "${UNINSTALL}"
    ${GetParameters} $3
    ClearErrors
    ${GetOptions} $3 "/PURGE" $4
    ${IfNot} ${Errors}
        RMDir /r "$Folder"
        DeleteRegKey HKLM "${OURS}"
        DeleteRegKey /ifempty HKLM "Software\Tightbeam"
    ${EndIf}
SectionEnd
